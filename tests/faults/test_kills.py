"""The short form of `kills.py`: runs that are killed once each."""

import pytest

kills = pytest.importorskip("kills")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        kills.prepare(folder)
        yield folder


@pytest.mark.parametrize("verb", ["train", "predict --coco"])
def test_a_killed_run_is_continued_to_the_same_files(folder, verb):
    found = kills.killed(verb, 1, 0, kills.spawned, folder)
    assert found.kills == 1
    assert found.faults == []


def test_differences_are_found(tmp_path):
    for name, log, more in (("a", 1, "x"), ("b", 2, ".x.9.partial")):
        out = tmp_path / name
        out.mkdir()
        (out / "log.jsonl").write_text(f'{{"step": {log}, "share_waiting": {log}}}\n')
        (out / more).write_text("")
    assert len(kills.differences(tmp_path / "a", tmp_path / "b")) == 4
    assert kills.differences(tmp_path / "a", tmp_path / "a") == []
