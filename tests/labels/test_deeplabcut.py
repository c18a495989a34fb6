"""DeepLabCut files, single and multi-animal, CSV and H5."""

import numpy as np
import pandas as pd
import pytest

from lab_files import write_image, write_video, xy_of
from tagwise.errors import UserError
from tagwise.labels import read_labels


def dlc_frame(individuals=None, index="path"):
    """A table as DeepLabCut makes it; the second image has no labels."""
    levels = ["scorer", "individuals", "bodyparts", "coords"]
    who = individuals or [""]
    columns = [("me", w, part, c) for w in who for part in ("head", "tail") for c in "xy"]
    if individuals and "single" in individuals:
        columns = [c for c in columns if c[1] != "single"]
        columns += [("me", "single", "lamp", c) for c in "xy"]
    if not individuals:
        columns, levels = [(c[0], *c[2:]) for c in columns], [levels[0], *levels[2:]]
    rows = ["labeled-data/day 1/img01.png", "labeled-data/day 1/img02.png"]
    if index == "parts":
        rows = pd.MultiIndex.from_tuples([tuple(row.split("/")) for row in rows])
    values = np.arange(1.0, len(columns) + 1)
    table = pd.DataFrame(
        [values, np.full(len(columns), np.nan)],
        index=rows,
        columns=pd.MultiIndex.from_tuples(columns, names=levels),
    )
    table.iloc[0, 2:4] = np.nan
    return table


@pytest.mark.parametrize("index", ["path", "parts"])
@pytest.mark.parametrize("individuals", [None, ["a", "b"], ["a", "b", "single"]])
def test_deeplabcut_csv(individuals, index, tmp_path):
    folder = tmp_path / "labeled-data" / "day 1"
    photo = write_image(folder / "img01.png")
    table = dlc_frame(individuals, index)
    table.to_csv(folder / "CollectedData_me.csv")
    config = "Task: mouse\nscorer: me\nskeleton:\n- [head, tail]\n- [head, gone]\nvideo_sets: {}\n"
    (tmp_path / "config.yaml").write_text(config + "bodyparts: [head, tail]\n")
    for path in (folder / "CollectedData_me.csv", tmp_path, tmp_path / "config.yaml"):
        found = read_labels(path)
        assert [image.path for image in found.images] == [photo]
        assert found.images[0].group == "day 1"
        category = found.categories[0]
        assert (category.name, category.keypoints) == ("mouse", ("head", "tail"))
        assert category.edges == ((0, 1),)
        instances = found.images[0].instances
        assert xy_of(instances[0]) == [[1, 2], None]
        assert len(instances) == len(individuals or [None])
        assert [each.track for each in instances] == (individuals or [None])
        assert "1 × image without labels, left out" in found.describe()[-1]
    if individuals and "single" in individuals:
        assert found.categories[1].keypoints == ("lamp",)


def test_deeplabcut_predictions_of_a_video(tmp_path):
    """The table that analysis of a video writes: one row per frame, with likelihood."""
    write_video(tmp_path / "clip.mp4", frames=3)
    columns = pd.MultiIndex.from_product([["net"], ["head", "tail"], ["x", "y", "likelihood"]])
    columns.names = ["scorer", "bodyparts", "coords"]
    values = [[1, 2, 0.9, 3, 4, 0.5], [5, 6, 0.7, 7, 8, 0.1]]
    path = tmp_path / "clipDLC_resnet50_mouseshuffle1_1000.csv"
    pd.DataFrame(values, columns=columns).to_csv(path)
    found = read_labels(path)
    assert [image.frame for image in found.images] == [0, 1]
    assert all(image.path == tmp_path / "clip.mp4" for image in found.images)
    first = found.images[0].instances[0]
    assert (first.score, first.keypoint_scores.tolist()) == (pytest.approx(0.7), [0.9, 0.5])


def fixed_h5(path, table):
    """Write the layout of pandas' "fixed" format, which needs PyTables, with h5py."""
    import h5py

    def index(group, name, values):
        if not isinstance(values, pd.MultiIndex):
            group[name] = np.array([str(v).encode() for v in values])
            return
        group.attrs[f"{name}_nlevels"] = values.nlevels
        for n, (level, codes) in enumerate(zip(values.levels, values.codes, strict=True)):
            group[f"{name}_level{n}"] = np.array([str(v).encode() for v in level])
            group[f"{name}_label{n}"] = np.array(codes)

    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"], group.attrs["nblocks"] = b"frame", 1
        index(group, "block0_items", table.columns)
        index(group, "axis1", table.index)
        group["block0_values"] = table.to_numpy()


@pytest.mark.parametrize("index", ["path", "parts"])
def test_deeplabcut_h5(index, tmp_path):
    table = dlc_frame(["a", "b"], index)
    fixed_h5(tmp_path / "CollectedData_me.h5", table)
    table.to_csv(tmp_path / "CollectedData_me.csv")
    one, other = (read_labels(tmp_path / f"CollectedData_me.{s}") for s in ("h5", "csv"))
    assert [image.file for image in one.images] == [image.file for image in other.images]
    assert one.categories == other.categories
    for a, b in zip(one.images[0].instances, other.images[0].instances, strict=True):
        assert xy_of(a) == xy_of(b)


def test_deeplabcut_h5_with_code_is_refused(tmp_path):
    """Names of columns are pickles in pandas' "table" format: nothing in them is run."""
    import pickle

    import h5py

    class Code:
        def __reduce__(self):
            return (print, ("run",))

    with h5py.File(tmp_path / "CollectedData_me.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = b"frame_table"
        kind = np.dtype([("index", "S9"), ("values_block_0", "f8", 2)])
        group["table"] = np.zeros(1, kind)
        group["table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps([Code()], 0))
    with pytest.raises(UserError, match="column names contain"):
        read_labels(tmp_path / "CollectedData_me.h5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scorer,me\nbodyparts,head\n", "no rows scorer and coords"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\nimg.png,1\n", "2 cells in row 4"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\nimg.png,1,b\n", "row 4 has a cell without"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\n", "no labelled instance"),
    ],
)
def test_faulty_deeplabcut(text, words, tmp_path):
    (tmp_path / "CollectedData_me.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_labels(tmp_path / "CollectedData_me.csv")
