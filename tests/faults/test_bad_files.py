"""A short form of bad_files.py, and tests of its measurements."""

import os
import signal
import time

import bad_files
import image_bombs
import numpy as np
import pytest
from measured import measured

from tagwise.data.images import read_image
from tagwise.errors import UserError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def refuse():
    raise UserError("no")


@pytest.mark.parametrize(
    ("call", "outcome", "text"),
    [
        (lambda: None, "read", ""),
        (refuse, "refused", "no"),
        (lambda: [][0], "raised", "IndexError"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "crashed", "signal 9"),
        (lambda: time.sleep(9), "hung", "signal 14"),
    ],
)
def test_outcome_is_measured(call, outcome, text):
    found = measured(call, seconds=1)
    assert found.outcome == outcome
    assert text in found.text


def test_memory_and_output_are_measured():
    found = measured(lambda: (np.ones(400 << 20, np.uint8), os.write(2, b"output")))
    # Linux counts pages per processor; with many processors it is wrong by tens of MiB.
    assert 300 < found.mib < 500
    assert found.output == "output"


@pytest.mark.parametrize(
    ("name", "data"),
    list(image_bombs.bombs()),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_decompression_bomb_is_refused_immediately(tmp_path, name, data):
    found = bad_files.read_measured(data, tmp_path / "image")
    assert found.outcome == "refused", found
    assert bad_files.fault_of(found) is None
    assert "image " in found.text


def test_random_damage_is_refused_or_read(tmp_path):
    outcomes = [found for _, found in bad_files.damage_outcomes(42, 1, tmp_path / "image")]
    faults = [fault for fault in map(bad_files.fault_of, outcomes) if fault]
    assert len(outcomes) == 42
    assert {found.outcome for found in outcomes} == {"read", "refused"}
    assert not [fault for fault in faults if "UserWarning" not in fault]  # of several frames


@pytest.mark.parametrize("name", list(bad_files.sound_files()))
def test_endless_zeros_are_refused(tmp_path, name):
    """A file whose later part was never written contains gigabytes of zeros."""
    data = bad_files.sound_files()[name]
    for cut in (len(data) // 20 + 4, len(data) // 2):
        found = bad_files.read_measured(data[:cut], tmp_path / "image", 8 << 30)
        assert found.outcome in ("read", "refused"), found
        assert found.seconds < 3
        assert found.mib < 600


@pytest.mark.parametrize("make", [image_bombs.webp, image_bombs.webp_lossless])
def test_size_of_webp_is_checked_before_its_decoder_allocates_the_pixels(monkeypatch, make):
    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile", None)
    with pytest.raises(UserError, match="claims 9990 × 9990 pixels in"):
        read_image(make(image_bombs.NEAR))
