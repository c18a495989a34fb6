"""Label maps, and what to do with files of other formats."""

import numpy as np
import pytest
from PIL import Image

from lab_files import write_image
from tagwise.errors import UserError
from tagwise.label_maps import rle_mask
from tagwise.labels import read_labels


def test_label_maps(tmp_path):
    write_image(tmp_path / "photos" / "a.png", (8, 6))
    labels = np.zeros((6, 8), np.uint8)
    labels[1:3, 2:6], labels[4, 0:2] = 7, 9
    (tmp_path / "maps").mkdir()
    Image.fromarray(labels).save(tmp_path / "maps" / "a.png")
    found = read_labels(tmp_path / "maps", tmp_path / "photos")
    masks = [rle_mask(each.mask) for each in found.images[0].instances]
    assert np.array_equal(masks, [labels == 7, labels == 9])
    with pytest.raises(UserError, match=r"if they are label maps.*--images"):
        read_labels(tmp_path / "maps")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("via.json", '{"_via_img_metadata": {}}', "a VIA file; export the project from VIA"),
        ("x/cvat.xml", "<annotations/>", "a folder of XML labels; give one of its files"),
    ],
)
def test_what_to_do_with_other_formats(name, text, words, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_labels(path.parent if "/" in name else path)
