import gc
import json
import threading
import weakref

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spots import PIN, PINS, SIZE, SpotNetwork, by_place, draw_pins, pin_points
from tagwise.cli import main
from tagwise.commands.predict import predict
from tagwise.errors import UserError
from tagwise.models import create_model, save_model
from tagwise.prediction.predictor import DEFAULT_THRESHOLD, Predictor
from tagwise.runtime import find_device
from tagwise.tasks import PoseTask


@pytest.fixture
def network():
    return SpotNetwork()


def predictor(network, **options):
    """In full precision on every machine, unless a test sets another."""
    return Predictor(network, **{"device": "cpu", "precision": "fp32", **options})


def write(path, image):
    Image.fromarray(image).save(path)
    return path


def test_crossing_pins_are_found_where_they_were_drawn(network):
    poses = predictor(network)(draw_pins(PINS))
    np.testing.assert_allclose(by_place(poses.keypoints)[..., :2], pin_points(), atol=0.3)
    assert poses.skeleton is PIN
    assert (poses.width, poses.height, poses.model) == (SIZE, SIZE, "spots")


@pytest.mark.parametrize("factor", [1 / 8, 0.75, 2.5, 9])
def test_positions_are_in_photo_pixels_for_any_size(network, factor):
    side = round(SIZE * factor)
    scaled = [(*((np.array([top, foot]) + 0.5) * factor - 0.5), blue) for top, foot, blue in PINS]
    poses = predictor(network)(draw_pins(scaled, (side, side), sigma=5 * factor))
    expected = np.array([[top, foot] for top, foot, _ in scaled])
    assert len(poses) == 2
    np.testing.assert_allclose(
        by_place(poses.keypoints)[..., :2], expected, atol=0.35 * max(factor, 0.5)
    )


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 200), (400, 2), (1000, 128), (37, 501)])
def test_unusual_image_shapes_give_a_result(network, width, height):
    poses = predictor(network)(np.zeros((height, width, 3), np.uint8))
    assert len(poses) == 0
    assert (poses.width, poses.height) == (width, height)
    assert all(side % 32 == 0 for side in network.batches[-1][-2:])


def test_portrait_photo_swaps_the_sides_of_the_input(network):
    predictor(network, size=(128, 64))(np.zeros((200, 100, 3), np.uint8))
    assert network.batches[-1] == (1, 3, 128, 64)


def test_single_size_is_the_longest_side(network):
    predictor(network, size=192)(np.zeros((100, 200, 3), np.uint8))
    assert network.batches[-1] == (1, 3, 96, 192)


def test_auto_precision_is_the_fastest_of_the_processor(network, monkeypatch):
    for able, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("tagwise.runtime.has_bf16", lambda able=able: able)
        assert predictor(network, precision="auto").precision == expected


@pytest.mark.parametrize(
    "options", [{"flip": True}, {"scales": (1.0, 2.0)}, {"flip": True, "scales": (0.5, 1.0, 1.5)}]
)
@pytest.mark.parametrize("size", [(SIZE, SIZE), (150, 93)])
def test_augmentation_finds_the_same_pins(network, options, size):
    factor = np.array([size[0] / SIZE, size[1] / SIZE])
    pins = [(np.array(t) * factor, np.array(f) * factor, blue) for t, f, blue in PINS]
    image = draw_pins(pins, size)
    plain, augmented = predictor(network)(image), predictor(network, **options)(image)
    assert len(augmented) == 2
    np.testing.assert_allclose(
        by_place(augmented.keypoints)[..., :2], by_place(plain.keypoints)[..., :2], atol=0.6
    )
    passes = len(options.get("scales", (1,))) * (2 if options.get("flip") else 1)
    assert augmented.tags.shape == (2, 2, passes)


def test_grid_is_that_of_the_scale_nearest_to_1(network):
    maps, affine = predictor(network, scales=(0.5, 1.0, 2.0)).maps(draw_pins(PINS))
    assert maps["heatmaps"].shape == (1, 2, SIZE // 4, SIZE // 4)
    np.testing.assert_allclose(affine.matrix, np.eye(2, 3))


def test_batch_gives_the_results_of_single_photos_in_order(network):
    rng = np.random.default_rng(0)
    shapes = [(SIZE, SIZE), (SIZE, 64), (SIZE, SIZE), (64, SIZE), (SIZE, 64), (SIZE, SIZE)] * 2
    photos = []
    for width, height in shapes:
        top, foot = rng.uniform(10, (width - 10, height - 10), (2, 2))
        photos.append(draw_pins([(top, foot, 0.5)], (width, height)))
    single = list(predictor(network).stream(photos))
    batched = list(predictor(network, batch_size=2).stream(photos))
    assert max(shape[0] for shape in network.batches) == 2
    for one, two in zip(single, batched, strict=True):
        np.testing.assert_allclose(one.keypoints, two.keypoints, atol=1e-4)
        assert (one.width, one.height) == (two.width, two.height)


def test_files_arrays_and_pillow_images_give_equal_results(network, tmp_path):
    image = draw_pins(PINS)
    path = write(tmp_path / "pins.png", image)
    found = list(predictor(network).stream([path, str(path), image, Image.fromarray(image)]))
    for poses in found:
        np.testing.assert_array_equal(poses.keypoints, found[0].keypoints)
    assert [poses.file for poses in found] == [str(path), str(path), None, None]
    assert found[0].image is None
    assert found[2].image is not None


def test_result_follows_the_exif_orientation(network, tmp_path):
    image = Image.fromarray(draw_pins([((30, 20), (50, 90), 0.5)], (80, 120)))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated by 90 degrees
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    poses = predictor(network)(tmp_path / "turned.jpg")
    assert (poses.width, poses.height) == (80, 120)
    np.testing.assert_allclose(poses.keypoints[0, :, :2], [[30, 20], [50, 90]], atol=1)


def test_threshold_leaves_out_weak_instances(network):
    image = draw_pins(PINS)
    image[:, :, :] = np.where((image[..., 2:] > 0), image * 0.23, image)  # the blue pin is faint
    (clear, faint) = predictor(network, threshold=0)(image).scores
    assert faint < DEFAULT_THRESHOLD < 0.5 < clear
    assert len(predictor(network, threshold=0.5)(image)) == 1
    assert len(predictor(network)(image)) == 1
    network.spec.decoder["threshold"] = float(faint) - 0.01
    assert len(predictor(network)(image)) == 2
    assert len(predictor(network, threshold=0.5)(image)) == 1


def draw_smear(path):
    """Twelve round cells with a pale middle, as in a blood smear."""
    image = np.full((240, 320, 3), (230, 215, 200), np.uint8)
    for n in range(12):
        middle = 40 + 80 * (n % 4), 40 + 80 * (n // 4)
        cv2.circle(image, middle, 22 + n % 3, (190, 120, 130), -1, cv2.LINE_AA)
        cv2.circle(image, middle, 8, (215, 160, 165), -1, cv2.LINE_AA)
    return write(path, cv2.GaussianBlur(image, (0, 0), 2))


def test_python_and_the_command_line_have_the_same_default_threshold(tmp_path):
    """The model's default threshold, such as .22 for blood."""
    photo, out = draw_smear(tmp_path / "smear.png"), tmp_path / "out"
    options = {"device": "cpu", "precision": "fp32"}
    whole = Predictor("blood", threshold=0, **options)(photo)
    found = Predictor("blood", **options)(photo).to_dict()
    assert 0 < len(found["instances"]) < len(whole)
    assert next(predict(photo, "blood", **options)).to_dict() == found
    arguments = ["predict", photo, "--weights", "blood", "--out", out, "--no-pictures"]
    assert main([*map(str, arguments), "--device", "cpu", "--precision", "fp32"]) == 0
    assert json.loads((out / "smear.predictions.json").read_text()) == found


def test_predictions_for_coco_contain_every_instance(tmp_path):
    photo = draw_smear(tmp_path / "smear.png")
    names = ("RBC", "WBC", "Platelets")
    content = {
        "images": [{"id": 1, "file_name": "smear.png", "width": 320, "height": 240}],
        "annotations": [],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    options = {"device": "cpu", "precision": "fp32"}
    whole = Predictor("blood", threshold=0, **options)(photo)
    run = predict(photo, "blood", out=tmp_path, coco=tmp_path / "set.json", **options)
    assert next(run).to_dict()["instances"] == whole.to_dict()["instances"]


def test_stream_is_lazy_and_keeps_no_images(network):
    """Only a few photos are in memory at a time, and none is read long before its turn."""
    alive, taken = [], 0

    class Photo(np.ndarray):
        """An array that can be weakly referenced."""

    def photos():
        nonlocal taken
        while True:
            taken += 1
            photo = draw_pins(PINS[:1]).view(Photo)
            alive.append(weakref.ref(photo))
            yield photo
            del photo

    stream, most = predictor(network).stream(photos()), 0
    for number in range(1, 40):
        next(stream)
        assert taken <= number + 3
        if number % 13 == 0:  # to collect takes long where many tests ran before
            gc.collect()
            most = max(most, sum(photo() is not None for photo in alive))
    assert 0 < most <= 6
    stream.close()


def test_unreadable_photo_stops_stream_but_not_outcomes(network, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    photos = [draw_pins(PINS), tmp_path / "broken.jpg", draw_pins(PINS)]
    stream = predictor(network).stream(photos)
    assert len(next(stream)) == 2
    with pytest.raises(UserError, match=r"broken\.jpg"):
        next(stream)
    outcomes = list(predictor(network, batch_size=2).outcomes(photos))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert len(outcomes[2].result) == 2


def test_model_is_unchanged_except_for_evaluation_mode(network):
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    predictor(network)(draw_pins(PINS))
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_model_file_gives_the_results_of_its_model(tmp_path):
    """Fused and stored in half precision, it is nearly the same network."""
    torch.manual_seed(0)
    model = create_model("efficientnet_lite0", PoseTask(PIN), input_size=(64, 64)).eval()
    save_model(model, tmp_path / "model.safetensors", half=False)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    expected, _ = predictor(model).maps(image)
    found, _ = predictor(tmp_path / "model.safetensors").maps(image)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=1e-3)
    assert predictor(tmp_path / "model.safetensors").name == "model"


def test_half_precision_is_close(network):
    exact, half = (predictor(network, precision=p)(draw_pins(PINS)) for p in ("fp32", "bf16"))
    np.testing.assert_allclose(
        by_place(half.keypoints)[..., :2], by_place(exact.keypoints)[..., :2], atol=0.5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:99"}, "--device cpu"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"precision": "fp8"}, "unknown precision"),
        *(({"flip": wrong}, "flip is") for wrong in ("yes", 1, None)),
        *(
            ({"scales": wrong}, "scales are")
            for wrong in ((), (1, 0), (1, -2.0), (np.inf,), (np.nan,), 1.0, "1", ("1",), (True,))
        ),
        *(({"batch_size": wrong}, "batch size is") for wrong in (0, -1, 1.5, "2", True)),
        *(({"threshold": wrong}, "threshold is") for wrong in (-0.1, 1.1, 50, np.nan, "0.5", True)),
        *(
            ({"size": wrong}, "input size is")
            for wrong in (0, -32, 64.0, "64", True, (64,), (64, 0), (64, 64, 3), (64, 32.5), ())
        ),
    ],
)
def test_invalid_options_are_refused(network, options, message):
    with pytest.raises(UserError, match=message) as caught:
        Predictor(network, **{"device": "cpu", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [-1, "high", None])
def test_threshold_of_a_model_file_is_validated(network, wrong):
    network.spec.decoder["threshold"] = wrong
    with pytest.raises(UserError, match="threshold is"):
        predictor(network)
    assert predictor(network, threshold=0.1).threshold == 0.1


def test_options_may_be_numpy_values(network):
    found = predictor(
        network,
        size=np.array([128, 64]),
        flip=np.True_,
        scales=np.array([0.5, 1], np.float32),
        threshold=np.float32(0.5),
        batch_size=np.int64(2),
    )
    settings = found.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert (settings["size"], settings["flip"], settings["scales"]) == ([128, 64], True, [0.5, 1.0])


def test_auto_device_is_available():
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    assert find_device(torch.device("cpu")) == torch.device("cpu")


def test_closing_a_stream_does_not_wait_for_readers(network, monkeypatch):
    """The garbage collector closes forgotten streams, inside any thread and under any lock."""
    stuck, go_on = threading.Event(), threading.Event()
    found = predictor(network)
    prepare = found.prepare

    def slow(image):
        if image.sum() == 0:
            stuck.set()
            go_on.wait(60)
        return prepare(image)

    monkeypatch.setattr(found, "prepare", slow)
    stream = found.stream([draw_pins(PINS), np.zeros((SIZE, SIZE, 3), np.uint8)])
    next(stream)
    assert stuck.wait(60)
    closing = threading.Thread(target=stream.close, daemon=True)
    closing.start()
    closing.join(30)
    waited = closing.is_alive()
    go_on.set()
    assert not waited
