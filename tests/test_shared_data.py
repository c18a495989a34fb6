"""The shared data that the tests in `shared_data` need is complete."""

import json
import zlib

import pytest

from shared_folder import SHARED


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no folder {SHARED}; TAGWISE_SHARED names one")
def test_stored_numbers_are_complete():
    golden = SHARED / "golden"
    files = json.loads((golden / "manifest.json").read_text())["files"]
    assert len(files) > 30
    for name, expected in files.items():
        content = (golden / name).read_bytes()
        assert (len(content), zlib.crc32(content)) == (expected["bytes"], expected["crc32"]), name
