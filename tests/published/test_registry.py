"""The registry has every model of the shared list, and the docs and the verb show it."""

import csv
import re
import runpy
from pathlib import Path

import pytest

import tagwise
from shared_folder import SHARED
from tagwise import cli
from tagwise.errors import UserError
from tagwise.models import load_model, shipped_models
from tagwise.published.recognise import DECODERS
from tagwise.published.registry import READABLE, find_public, public_models, registry

ROOT = Path(__file__).parents[2]
MODELS = list(public_models().values())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_entries_are_complete(model):
    assert model.name not in shipped_models()
    assert model.citation
    assert model.source
    assert model.about
    for file in model.files:
        assert re.fullmatch(r"https://[\w.-]+/[\w./-]+", file.url)
        algorithm, _, digits = file.checksum.partition(":")
        assert re.fullmatch("[0-9a-f]+", digits)
        assert (algorithm, len(digits)) in {("sha256", 8), ("sha256", 64), ("sha384", 96)}
        assert file.is_proven == (len(digits) > 8)
        if "openmmlab" in file.url:
            assert f"-{digits[:8]}" in file.name


def test_names_in_the_cache_are_unique():
    names = [file.name for model in MODELS for file in model.files]
    assert len(set(names)) == len(names)


def test_readable_families_are_families():
    families = {model.family for model in MODELS}
    assert families >= READABLE
    for model in MODELS:
        if model.family in READABLE:
            assert model.decoder in DECODERS


def test_the_registry_agrees_with_the_shared_list():
    path = SHARED / "official_weights.tsv"
    if not path.is_file():
        pytest.skip("needs the shared list")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["name"] for row in rows} <= set(public_models())
    for row in rows:
        model = public_models()[row["name"]]
        address = row["url"].partition(" ")[0]
        assert model.files[0].url == address
        for file in model.files:
            digits = file.checksum.partition(":")[2]
            assert digits in row["checksum"] or "as 0005" in row["checksum"]
            assert file.size is None or str(file.size) in row["checksum"] + "16300908"
        figures = re.findall(r"\d+\.\d", row["published_AP"])
        assert model.ap is None if not figures else f"{model.ap:.1f}" in figures
        assert row["terms"].startswith(model.licence)
        assert model.task == {"pose": "pose", "boxes": "corners"}[row["task"].split()[0]]
        count = int(row["task"].rpartition("-")[2])
        assert f"{count} " in model.finds


def test_the_facts_of_shipped_models_are_those_of_the_readme():
    table = (ROOT / "README.md").read_text()
    for name, facts in registry().shipped.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*", table, re.MULTILINE)
        assert f"({facts.ms})" in row.split("|")[-2]
        assert facts.ap is None or f"{facts.ap:.1f}" in row
    assert set(registry().shipped) == set(shipped_models())


def test_the_page_of_the_docs_is_up_to_date():
    made = runpy.run_path(str(ROOT / "docs" / "make_models.py"))
    assert (ROOT / "docs" / "models.md").read_text() == made["page"](), "run `make docs`"


# ---------------------------------------------------------------------- the verb


def test_the_table_shows_the_state_of_every_model(known, server, cache, capsys):
    states = {model.name: model.state for model in tagwise.list_models()}
    assert states == dict.fromkeys(shipped_models(), "shipped") | {"tiny-hrnet": "available"}
    load_model("tiny-hrnet")
    capsys.readouterr()
    assert cli.main(["models"]) == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("tiny-hrnet"))
    size = f"{known.size / 1e6:.1f}"
    assert row.split("  ")[0] == "tiny-hrnet"
    for cell in ("cached", "17 keypoints", size, "67.1", "COCO val2017, flip", "Apache-2.0"):
        assert cell in row
    assert str(cache) in text


def test_one_model_is_shown_with_licence_citation_and_address(known, cache, capsys):
    assert cli.main(["models", "tiny-hrnet"]) == 0
    text = capsys.readouterr().out
    for fact in (known.citation, known.licence, known.files[0].url, known.files[0].checksum):
        assert fact in text
    assert f"put the file into {cache}" in text
    (model,) = tagwise.list_models("people")
    assert model.path.is_file()
    assert cli.main(["models", "people"]) == 0
    assert str(model.path) in capsys.readouterr().out
    assert not cache.exists()


def test_unknown_names_name_the_nearest(capsys):
    assert cli.main(["models", "openvino-hpe-5"]) == 2
    assert "did you mean 'openvino-hpe-0005'?" in capsys.readouterr().err
    with pytest.raises(UserError, match="did you mean 'mmdet-cornernet-8x6'"):
        load_model("mmdet-cornernet-8x")
    with pytest.raises(UserError, match="did you mean 'higherhrnet-w32-512'"):
        find_public("higherhrnet-w32-51")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"family": "none-yet", "about": "a network of 2030"}, "the family a network of 2030"),
        ({"labels": "octopus"}, "the keypoint types of octopus"),
    ],
)
def test_a_model_that_cannot_be_read_yet_is_listed_and_refused(
    server, use, cache, capsys, facts, reason
):
    use("sha256:00", **facts)
    assert [model.state for model in tagwise.list_models("tiny-hrnet")] == ["unreadable"]
    assert cli.main(["predict", "photo.png", "--weights", "tiny-hrnet"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert reason in said
    assert server.requests == []
    assert not cache.exists()
