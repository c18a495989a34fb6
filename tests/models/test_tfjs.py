import json

import numpy as np
import pytest

from tagwise.errors import UserError
from tagwise.models.tfjs import read_weights


def write_model(folder, entries, groups=1):
    """A TF.js model of (name, array, stored dtype); returns its JSON's path."""
    manifest = []
    for group in range(groups):
        part = entries[group::groups]
        (folder / f"part{group}.bin").write_bytes(
            b"".join(
                array.astype(np.dtype(stored).newbyteorder("<")).tobytes()
                for _, array, stored in part
            )
        )
        weights = []
        for name, array, stored in part:
            entry = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
            if stored != str(array.dtype):
                entry["quantization"] = {"dtype": stored, "original_dtype": str(array.dtype)}
            weights.append(entry)
        manifest.append({"paths": [f"part{group}.bin"], "weights": weights})
    path = folder / "model.json"
    path.write_text(json.dumps({"format": "graph-model", "weightsManifest": manifest}))
    return path


@pytest.fixture
def entries():
    rng = np.random.default_rng(0)
    return [
        ("a/kernel", rng.standard_normal((3, 3, 2, 4)).astype(np.float32), "float32"),
        ("axis", np.array(3, np.int32), "int32"),
        ("b/kernel", np.arange(6, dtype=np.float32).reshape(2, 3) / 8, "float16"),
        ("shape", np.array([1, -1], np.int32), "int32"),
    ]


@pytest.mark.parametrize("groups", [1, 2])
def test_every_storage_is_read(tmp_path, entries, groups):
    weights = read_weights(write_model(tmp_path, entries, groups))
    assert list(weights) == [name for g in range(groups) for name, *_ in entries[g::groups]]
    for name, array, _ in entries:
        assert weights[name].dtype == array.dtype
        np.testing.assert_array_equal(weights[name], array)


def test_short_binary_is_refused(tmp_path, entries):
    path = write_model(tmp_path, entries)
    binary = tmp_path / "part0.bin"
    binary.write_bytes(binary.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"model\.json is not a TF\.js model"):
        read_weights(path)


def test_missing_binary_is_named(tmp_path, entries):
    path = write_model(tmp_path, entries)
    (tmp_path / "part0.bin").unlink()
    with pytest.raises(UserError, match=r"no such file of weights: .*part0\.bin"):
        read_weights(path)


def test_binary_in_another_folder_is_not_read(tmp_path, entries):
    folder = tmp_path / "model"
    folder.mkdir()
    path = write_model(folder, entries)
    (folder / "part0.bin").rename(tmp_path / "part0.bin")
    text = path.read_text().replace("part0.bin", "../part0.bin")
    path.write_text(text)
    with pytest.raises(UserError, match="no such file of weights"):
        read_weights(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weightsManifest": 3}', "\x00"])
def test_other_json_is_refused(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"TF\.js model"):
        read_weights(path)


def test_unknown_storage_is_named(tmp_path, entries):
    path = write_model(tmp_path, entries)
    path.write_text(path.read_text().replace('"float16"', '"uint8"'))
    with pytest.raises(UserError, match="'b/kernel' is stored as 'uint8'"):
        read_weights(path)
