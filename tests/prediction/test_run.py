"""Runs over many photos: files, errors, COCO results, and resuming a run."""

import json

import pytest
from PIL import Image

from spots import PIN, PINS, SpotNetwork, draw_pins
from tagwise.errors import UserError
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.run import PredictRun, open_files
from tagwise.prediction.sources import find_sources


@pytest.fixture
def network():
    return SpotNetwork()


@pytest.fixture
def folder(tmp_path):
    """Five photos; number n is n pixels wider than the first."""
    for number in range(5):
        image = draw_pins(PINS, (128 + number, 128))
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def run(folder, network, out=None, coco=None, resume=False, pictures=True, **options):
    predictor = Predictor(network, device="cpu", **options)
    files = open_files(out, predictor, network, pictures, resume) if out else None
    return PredictRun(predictor, find_sources(folder), files, coco, progress=False)


def contents(folder):
    """Every visible file's bytes, except the journal of the run."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


def test_every_photo_gets_json_and_a_picture(folder, network, tmp_path):
    done = run(folder, network, out=tmp_path / "out")
    line = done.finish()
    assert line == f"5 photos, 10 instances; results are in {tmp_path / 'out'}"
    assert done.exit_code == 0
    names = {f"{n}.predictions.{suffix}" for n in range(5) for suffix in ("json", "jpg")}
    assert set(contents(tmp_path / "out")) == names
    record = json.loads((tmp_path / "out" / "3.predictions.json").read_text())
    assert record["image"] == {"file": str(folder / "3.png"), "width": 131, "height": 128}
    assert record["model"] == "spots"
    assert [len(instance["keypoints"]) for instance in record["instances"]] == [2, 2]
    assert Image.open(tmp_path / "out" / "3.predictions.jpg").size == (131, 128)


def test_pictures_can_be_left_out(folder, network, tmp_path):
    run(folder, network, out=tmp_path / "out", pictures=False).finish()
    assert not list((tmp_path / "out").glob("*.jpg"))


def test_files_are_written_as_results_are_taken(folder, network, tmp_path):
    results = run(folder, network, out=tmp_path / "out", pictures=False)
    for number in range(1, 4):
        next(results)
        assert len(contents(tmp_path / "out")) >= number


def test_broken_photos_are_reported_and_skipped(folder, network, tmp_path, capsys):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:300])
    (folder / "2.png").write_bytes(b"")
    done = run(folder, network, out=tmp_path / "out")
    assert "3 photos" in done.finish()
    assert done.exit_code == 1
    assert [str(folder / f"{n}.png") in str(e) for n, e in zip((1, 2), done.failed)] == [True] * 2
    told = capsys.readouterr().err
    assert "1.png" in told
    assert "2.png" in told
    assert "0.png" not in told
    assert len(list((tmp_path / "out").glob("*.json"))) == 3


def test_exit_code_is_2_if_no_photo_can_be_read(folder, network):
    for path in folder.iterdir():
        path.write_bytes(b"")
    done = run(folder, network)
    done.finish()
    assert done.exit_code == 2


def test_resumed_run_continues_where_it_stopped(folder, network, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(folder, network, out=whole).finish()
    results = run(folder, network, out=broken)
    next(results)
    next(results)
    del results  # as if killed
    network = SpotNetwork()  # the network of the run that was stopped may still have been ahead
    done = run(folder, network, out=broken, resume=True)
    found = list(done)
    # Files of photos that had not been yielded may have been written too.
    assert done.resumed >= 2
    assert done.written == len(network.batches) == 5 - done.resumed
    assert [poses.width for poses in found] == [128, 129, 130, 131, 132]
    assert contents(broken) == contents(whole)


def test_resuming_with_other_settings_is_refused(folder, network, tmp_path):
    run(folder, network, out=tmp_path / "out").finish()
    with pytest.raises(UserError, match="flip was False, is now True"):
        run(folder, network, out=tmp_path / "out", flip=True, resume=True)


def test_resume_without_an_earlier_run_starts_one(folder, network, tmp_path):
    done = run(folder, network, out=tmp_path / "out", resume=True)
    done.finish()
    assert (done.resumed, done.written) == (0, 5)


def coco_file(tmp_path, names):
    images = [{"id": 10 + number, "file_name": name} for number, name in enumerate(names)]
    content = {"images": images, "annotations": [], "categories": [PIN.to_coco(2)]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    return tmp_path / "val.json"


def test_coco_results_of_a_whole_set(folder, network, tmp_path, capsys):
    annotations = coco_file(tmp_path, ["1.png", "3.png"])
    out = tmp_path / "out"
    results = run(folder, network, out=out, coco=annotations)
    next(results)
    assert not (out / "val.results.json").exists()
    results.finish()
    rows = json.loads((out / "val.results.json").read_text())
    assert [row["image_id"] for row in rows] == [10, 10, 11, 11]
    assert {row["category_id"] for row in rows} == {2}
    assert "3 photos are not among the images" in capsys.readouterr().err


def test_resumed_run_writes_the_same_coco_results(folder, network, tmp_path):
    annotations = coco_file(tmp_path, [f"{n}.png" for n in range(5)])
    run(folder, network, out=tmp_path / "whole", coco=annotations).finish()
    results = run(folder, network, out=tmp_path / "broken", coco=annotations)
    next(results)
    next(results)
    results.close()
    assert not list((tmp_path / "broken").glob("*results*"))
    assert not list((tmp_path / "broken").glob("*.partial"))
    run(folder, network, out=tmp_path / "broken", coco=annotations, resume=True).finish()
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_coco_of_another_set_is_refused_immediately(folder, network, tmp_path):
    results = run(folder, network, out=tmp_path / "out", coco=coco_file(tmp_path, ["x.jpg"]))
    with pytest.raises(UserError, match="none of these photos"):
        next(results)
    assert not network.batches
