"""Results as a sequence that is computed as it is read, and the options of predict."""

import csv

import numpy as np
import pytest
from PIL import Image

from spots import PINS, SpotNetwork, draw_pins
from tagwise.commands.predict import predict
from tagwise.errors import UserError
from tagwise.prediction import sequence
from tagwise.prediction.predictor import Predictor

PHOTO = draw_pins(PINS)


@pytest.fixture
def network():
    return SpotNetwork()


@pytest.fixture
def folder(tmp_path):
    """Five photos; each is one pixel wider than the one before."""
    (tmp_path / "photos").mkdir()
    for number in range(5):
        image = draw_pins(PINS, (128 + number, 128))
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_results_are_indexable_and_computed_once(folder, network):
    results = predict(folder, network, device="cpu")
    assert network.batches == []
    assert results[0].width == 128
    assert results.written < 5
    assert [poses.width for poses in results] == [128, 129, 130, 131, 132]
    assert results[-1].width == 132
    assert [poses.width for poses in results[1:3]] == [129, 130]
    assert [poses.width for poses in results] == [128, 129, 130, 131, 132]
    assert (len(results), len(network.batches)) == (5, 5)
    with pytest.raises(IndexError):
        results[5]
    assert results


def test_next_continues_where_it_was(folder, network):
    results = predict(folder, network, device="cpu")
    assert (next(results).width, next(results).width) == (128, 129)
    assert next(iter(results)).width == 128
    assert next(results).width == 130


def test_stream_keeps_nothing(folder, network):
    results = predict(folder, network, device="cpu", stream=True)
    assert [poses.width for poses in results] == [128, 129, 130, 131, 132]
    assert list(results) == []
    for use in (len, lambda run: run[0]):
        with pytest.raises(TypeError, match="leave out stream"):
            use(predict(folder, network, device="cpu", stream=True))


def test_no_image_that_can_be_read_is_an_empty_sequence(tmp_path, network):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    results = predict(tmp_path, network, device="cpu")
    assert not results
    assert len(results) == 0
    assert len(results.failed) == 1


def test_a_note_says_when_kept_images_fill_the_memory(network, monkeypatch, capsys):
    monkeypatch.setattr(sequence, "_LARGE", 3 * PHOTO.nbytes)
    results = predict([PHOTO] * 6, network, device="cpu")
    results[2]
    assert "stream=True" not in capsys.readouterr().err
    assert len(results) == 6
    assert capsys.readouterr().err.count("stream=True") == 1


def test_one_table_of_all_results(folder, network, tmp_path):
    results = predict(folder, network, device="cpu")
    frame = results.to_df()
    assert list(frame["image"].unique()) == [str(folder / f"{n}.png") for n in range(5)]
    assert len(frame) == 10
    results.to_csv(tmp_path / "all.csv")
    with open(tmp_path / "all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["top.x"]) for row in rows] == frame["top.x"].tolist()
    pandas = pytest.importorskip("pandas")
    read = pandas.read_parquet(results.to_parquet(tmp_path / "all.parquet"))
    assert read["foot.y"].tolist() == frame["foot.y"].tolist()


def test_conf_classes_and_max_instances_select(network):
    everything = predict(PHOTO, network, device="cpu", conf=0)[0]
    assert len(everything) >= 2
    best = predict(PHOTO, network, device="cpu", max_instances=1)[0]
    np.testing.assert_array_equal(best.keypoints, everything[:1].keypoints)
    assert len(predict(PHOTO, network, device="cpu", conf=1)[0]) == 0
    for classes in ("pin", 0, ["pin"], [0], np.array([0]), "0", ()):
        assert len(predict(PHOTO, network, device="cpu", classes=classes)[0]) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": ["pim"]}, "unknown class 'pim'; did you mean 'pin'"),
        ({"classes": [1]}, "class 1 does not exist; use 0 to 0"),
        ({"max_instances": 0}, "max_instances is 0"),
        ({"max_instances": 1.5}, "max_instances is 1.5"),
        ({"conf": 2}, "conf is 2; use a score from 0 to 1"),
        ({"half": "yes"}, "half is 'yes'"),
        ({"half": True, "precision": "fp32"}, "half is True, but precision is fp32"),
        ({"confidence": 0.5}, "unknown argument 'confidence'; did you mean 'conf'"),
        ({"clases": [0]}, "unknown argument 'clases'; did you mean 'classes'"),
        ({"max_det": 5}, "unknown argument 'max_det'; did you mean 'max_instances'"),
        ({"threshhold": 0.5}, "unknown argument 'threshhold'; did you mean 'threshold'"),
        ({"conf": 0.5, "threshold": 0.5}, "threshold and conf are the same"),
    ],
)
@pytest.mark.parametrize("function", [predict, Predictor])
def test_wrong_options_are_refused_with_the_nearest_name(network, options, told, function):
    given = (PHOTO, network) if function is predict else (network,)
    with pytest.raises(UserError, match=told):
        function(*given, device="cpu", **options)
    assert network.batches == []


def test_older_names_do_the_same(network):
    older = Predictor(network, device="cpu", threshold=0.4, size=96)
    newer = Predictor(network, device="cpu", conf=0.4, imgsz=96)
    assert older.settings() == newer.settings()
    assert newer.settings()["size"] == [96, 96]
    assert newer.threshold == 0.4


def test_half_chooses_the_precision(network):
    assert Predictor(network, device="cpu", half=True).precision == "bf16"
    plain = Predictor(network, device="cpu").precision
    assert Predictor(network, device="cpu", half=False).precision == plain
    assert Predictor(network, device="cpu", half=True, precision="fp16").precision == "fp16"


def test_selections_are_settings_that_a_resumed_run_must_share(folder, network, tmp_path):
    predict(folder, network, device="cpu", out=tmp_path / "out").finish()
    with pytest.raises(UserError, match="max_instances was None, is now 1"):
        predict(folder, network, device="cpu", out=tmp_path / "out", resume=True, max_instances=1)
