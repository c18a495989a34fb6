"""The short form of `fuzzed_labels.py`: every valid file, and some damaged ones of each reader."""

import os

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="limits memory as Unix does")

fuzzed_labels = pytest.importorskip("fuzzed_labels")
import label_readers  # noqa: E402
import mutations  # noqa: E402
import recipe_readers  # noqa: E402

VALID = {
    "labels.json": label_readers.keypoint_labels(),
    "results.json": label_readers.other_results(),
    "0.predictions.json": label_readers.predictions()[0],
    "recipe.yaml": recipe_readers.recipe(),
}
READERS = {reader.name: reader for reader in fuzzed_labels.readers()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        label_readers.make_photos(folder)
        yield folder


@pytest.mark.parametrize("name", [name for name in READERS if READERS[name].file in VALID])
def test_valid_files_are_read(folder, name):
    reader = READERS[name]
    tree = VALID[reader.file]
    if name.startswith(("boxes", "masks")):
        tree = label_readers.box_labels()
    assert fuzzed_labels.seen(reader, mutations.as_json(tree), folder) == ("read", "")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused(folder, name):
    found = list(fuzzed_labels.tried(READERS[name], range(12), 0, folder))
    assert [one for one in found if one.what == "fault"] == []
    assert len(found) == 12


def broken(path):
    raise KeyError(path)


def slow(path):
    while True:
        pass


def hungry(path):
    np.ones(10**10)


@pytest.mark.parametrize(
    ("use", "says"), [(broken, "KeyError"), (slow, "took more"), (hungry, "MemoryError")]
)
def test_faults_are_found(tmp_path, monkeypatch, use, says):
    monkeypatch.setattr(fuzzed_labels, "SECONDS", 0.2)
    reader = label_readers.Reader("broken", "x.json", lambda rng: (b"", ""), use)
    what, text = fuzzed_labels.seen(reader, b"{}", tmp_path)
    assert what == "fault"
    assert says in text


def test_mutations_are_many_and_reproducible():
    trees = [label_readers.keypoint_labels(), recipe_readers.recipe()]
    for tree, mutated in zip(trees, (mutations.mutated_json, mutations.mutated_yaml)):
        each = [mutated(tree, np.random.default_rng(seed))[0] for seed in range(200)]
        again = [mutated(tree, np.random.default_rng(seed))[0] for seed in range(200)]
        assert each == again
        assert len(set(each)) > 180
