import numpy as np
import pytest
from PIL import Image

from tagwise.data import label_maps
from tagwise.data.label_maps import LabelMaps
from tagwise.data.training_set import TrainingSet
from tagwise.errors import UserError


@pytest.fixture
def folders(tmp_path):
    """A function that writes images 0.png, 1.png, ... and label maps, and returns both folders."""

    def write(*maps):
        images, labels = tmp_path / "images", tmp_path / "labels"
        for folder in (images, labels):
            folder.mkdir(exist_ok=True)
        for number, array in enumerate(maps):
            pixels = np.full((*np.shape(array)[:2], 3), 40 * number, np.uint8)
            Image.fromarray(pixels).save(images / f"{number}.png")
            Image.fromarray(array).save(labels / f"{number}.png")
        return images, labels

    return write


def cells(dtype=np.uint16, values=(1, 2)):
    labels = np.zeros((24, 32), dtype)
    labels[2:8, 4:10] = values[0]
    labels[8:12, 4:30] = values[1]
    return labels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_valid_folders_give_label_maps_boxes_and_areas(folders, dtype):
    data = LabelMaps(*folders(cells(dtype), np.zeros((24, 32), dtype)))
    assert (len(data), data.ids, data.report) == (2, [1, 2], [])
    assert data.labels_of_task() == {}
    assert data.flip == ()
    assert data.size(0) == (32, 24)
    assert data.info(1) == ("1.png", 32, 24)
    sample = data[0]
    np.testing.assert_array_equal(sample.labels, cells())
    assert sample.labels.dtype == np.int32
    np.testing.assert_array_equal(sample.boxes, [[4, 2, 6, 6], [4, 8, 26, 4]])
    np.testing.assert_array_equal(sample.areas, [36, 104])
    np.testing.assert_array_equal(sample.classes, [0, 0])
    assert sample.keypoints.shape == (2, 0, 3)
    assert sample.image.shape == (24, 32, 3)
    assert (sample.image_id, sample.file) == (1, "0.png")
    empty = data[1]
    assert empty.boxes.shape == (0, 4)
    assert not empty.labels.any()


@pytest.mark.parametrize(
    ("dtype", "values"),
    [(np.uint16, (700, 65535)), (np.int32, (5, 2_000_000_000)), (np.int32, (70_000, 80_000))],
)
def test_instance_numbers_may_have_gaps(folders, tmp_path, dtype, values):
    images, labels = folders(cells())
    (labels / "0.png").unlink()
    Image.fromarray(cells(dtype, values)).save(labels / "0.tif")
    np.testing.assert_array_equal(LabelMaps(images, labels)[0].labels, cells())


def test_background_is_optional_and_negative_numbers_belong_to_it(folders):
    images, labels = folders(cells())
    (labels / "0.png").unlink()
    full = np.where(cells() == 0, 90_000, cells()).astype(np.int32)
    full[0, 0] = -1
    Image.fromarray(full).save(labels / "0.tif")
    sample = LabelMaps(images, labels)[0]
    expected = np.where(cells() == 0, 3, cells())
    expected[0, 0] = 0
    np.testing.assert_array_equal(sample.labels, expected)


def test_palette_images_are_read_as_indices(folders):
    images, labels = folders(cells())
    picture = Image.fromarray(cells(np.uint8))
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    assert picture.mode == "P"
    picture.save(labels / "0.png")
    np.testing.assert_array_equal(LabelMaps(images, labels)[0].labels, cells())


def test_faults_are_reported_and_left_out(folders):
    images, labels = folders(*[cells()] * 7)
    (labels / "1.png").unlink()
    Image.fromarray(cells()[:, :9]).save(labels / "2.png")
    (labels / "3.png").write_bytes(b"")
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(labels / "4.png")
    (images / "5.png").write_bytes(b"not an image")
    (images / "6.png").unlink()
    (labels / "._0.png").write_bytes(b"metadata that macOS writes")
    data = LabelMaps(images, labels)
    assert data.ids == [1]
    assert [(problem.file, problem.kind) for problem in data.report] == [
        ("1.png", "no label map, image left out"),
        ("2.png", "label map has another size, image left out"),
        ("3.png", "label map is empty or cannot be read, image left out"),
        ("4.png", "label map is not one channel of integers, image left out"),
        ("5.png", "image is empty or cannot be read, image left out"),
        ("6.png", "label map without an image, left out"),
    ]


def test_truncated_files_raise_and_are_removed_by_check_images(folders):
    noise = np.random.default_rng(0).integers(0, 9, (24, 32)).astype(np.uint16)
    images, labels = folders(noise, noise, noise)
    Image.fromarray(noise.astype(np.uint8)).save(images / "0.png")
    for path in (images / "0.png", labels / "1.png"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    data = LabelMaps(images, labels)
    for index, words in ((0, r"image .*0\.png"), (1, r"label map .*1\.png")):
        with pytest.raises(UserError, match=words):
            data[index]
    training = TrainingSet([data], input_size=(32, 32))
    with pytest.warns(UserWarning, match="cannot read"):
        assert {training[number].file for number in range(12)} == {"2.png"}
    assert [problem.file for problem in data.check_images()] == ["0.png", "1.png"]
    assert data.ids == [3]


def test_missing_and_empty_folders_are_refused(folders, tmp_path):
    images, labels = folders(cells())
    with pytest.raises(UserError, match="no such folder"):
        LabelMaps(images, tmp_path / "none")
    (labels / "0.png").unlink()
    with pytest.raises(UserError, match=r"no image of .*no label map, image left out: 0\.png"):
        LabelMaps(images, labels)


@pytest.mark.parametrize("factor", [2, 4])
def test_reduced_samples_keep_positions(folders, factor):
    small = LabelMaps(*folders(cells())).load(0, factor)
    assert small.image.shape[:2] == small.labels.shape == (24 // factor, 32 // factor)
    expected = np.float32([[4, 2, 6, 6], [4, 8, 26, 4]]) / factor
    np.testing.assert_allclose(small.boxes, expected, atol=0.5)
    np.testing.assert_array_equal(small.areas, np.bincount(small.labels.ravel())[1:])


def test_label_maps_may_follow_the_exif_orientation(folders):
    images, labels = folders(cells())
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)
    Image.fromarray(stored).save(images / "0.png", exif=exif)
    sample = LabelMaps(images, labels)[0]
    np.testing.assert_array_equal(sample.image, np.rot90(stored, -1))
    assert sample.labels.shape == (24, 32)


# ---------------------------------------------------------------------- foreground masks


def discs(values, centres=((6, 6), (6, 20), (16, 9))):
    """(24, 32) with a disc around each centre, y and x; values: one for each."""
    labels = np.zeros((24, 32), np.uint8)
    v, u = np.ogrid[:24, :32]
    for value, (y, x) in zip(values, centres, strict=True):
        labels[(v - y) ** 2 + (u - x) ** 2 <= 9] = value
    return labels


@pytest.mark.parametrize("value", [1, 255])
def test_foreground_masks_are_split_into_regions_and_named(folders, value):
    single = discs([value], [(6, 6)])
    data = LabelMaps(
        *folders(discs([value] * 3), single, discs([value] * 3), np.zeros_like(single))
    )
    assert [len(data[index].boxes) for index in range(4)] == [3, 1, 3, 0]
    np.testing.assert_array_equal(data[0].labels, discs([1, 2, 3]))
    np.testing.assert_array_equal(data.label_map(0), data[0].labels)
    (problem,) = data.report
    assert "foreground masks" in problem.kind
    assert "each connected region is treated as one instance" in problem.kind
    assert problem.detail == "2 of 3 maps examined"


def test_one_bit_foreground_masks_are_read(folders):
    images, labels = folders(discs([1] * 3))
    Image.fromarray(discs([255] * 3)).convert("1").save(labels / "0.png")
    data = LabelMaps(images, labels)
    assert len(data[0].boxes) == 3
    assert len(data.report) == 1


def test_fragments_of_instances_are_not_foreground_masks(folders):
    """An instance may lie in several pieces, and a photo may show a single one."""
    broken = discs([7, 7, 9])
    for maps in ([broken], [discs([1], [(6, 6)])] * 3, [discs([1] * 3), *[discs([1, 2, 3])] * 2]):
        data = LabelMaps(*folders(*maps))
        assert data.report == []
        assert [data[i].labels.max() for i in range(len(maps))] == [
            len(set(m[m > 0])) for m in maps
        ]
    few = [discs([1] * 3), *[discs([1], [(6, 6)])] * 4]
    data = LabelMaps(*folders(*few))
    assert data.report == []
    assert len(data[0].boxes) == 1


def test_instance_map_among_foreground_masks_keeps_its_instances(folders, monkeypatch):
    """Only some maps are examined; all others are used as they are."""
    monkeypatch.setattr(label_maps, "_MAX_EXAMINED", 3)
    data = LabelMaps(*folders(discs([255] * 3), discs([4, 4, 5]), *[discs([255] * 3)] * 4))
    assert [len(data[index].boxes) for index in (0, 1, 2)] == [3, 2, 3]
    assert data.report[0].detail == "3 of 3 maps examined"


def test_class_maps_are_reported(folders):
    rng = np.random.default_rng(0)
    labels = (rng.random((24, 32)) < 0.2) * rng.integers(1, 4, (24, 32))
    data = LabelMaps(*folders(labels.astype(np.uint8)))
    (problem,) = data.report
    assert "are they classes rather than instances?" in problem.kind
    assert len(data[0].boxes) == 3


def test_oversized_and_invalid_label_maps_are_left_out_with_a_reason(folders, monkeypatch):
    images, labels = folders(*[cells()] * 3)
    (labels / "1.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setenv("TAGWISE_MAX_MEGAPIXELS", "0.001")
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(labels / "2.png")
    data = LabelMaps(images, labels)
    assert data.ids == [1]
    assert [problem.file for problem in data.report] == ["1.png", "2.png"]
    assert "Git LFS pointer" in data.report[0].detail
    assert "more than 0.001" in data.report[1].detail
