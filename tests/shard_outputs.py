"""What runs in shards wrote: every row, compared with what the list of images asks for."""

import json

import numpy as np
from pyarrow import parquet

from tagwise.scale.table import read_results


def rows_of(out):
    """The row of each image: its JSON without instances' order changed, or the text of its error.

    Fails unless the shards have exactly one row per image, in the order of the list.
    """
    found, indices = {}, []
    for path in sorted((out / "parquet").glob("*.parquet")):
        table = parquet.read_table(path)
        results = read_results(path.read_bytes())
        for row in table.to_pylist():
            assert row["image"] not in found, f"{row['image']} has two rows"
            indices.append(row["index"])
            assert (row["error"] is None) == (row["instances"] is not None)
            found[row["image"]] = row["error"] or json.loads(json.dumps(next(results).to_dict()))
        assert next(results, None) is None
    assert indices == list(range(len(indices))), "rows are missing"
    check_coco(out, found)
    return found


def check_coco(out, rows):
    """Fail unless the COCO shards have the images that could be read, and all of their instances.

    rows: of `rows_of`, in the order of the list.
    """
    ids = {name: number for number, name in enumerate(rows, 1)}
    counts, annotations = {}, set()
    for path in sorted((out / "coco").glob("*.json")):
        content = json.loads(path.read_text())
        for image in content["images"]:
            assert image["id"] == ids[image["file_name"]]
            counts[image["id"]] = 0
        for annotation in content["annotations"]:
            assert annotation["id"] not in annotations
            annotations.add(annotation["id"])
            counts[annotation["image_id"]] += 1
    readable = {ids[n]: len(r["instances"]) for n, r in rows.items() if isinstance(r, dict)}
    assert counts == readable


def assert_same(found, plain):
    """Fail unless rows are those of a plain run. Batches of other sizes round differently."""
    assert found.keys() == plain.keys()
    for name, expected in plain.items():
        if isinstance(expected, str):
            assert found[name] == expected
            continue
        assert found[name]["image"] == expected["image"]
        assert len(found[name]["instances"]) == len(expected["instances"]), name
        for one, other in zip(found[name]["instances"], expected["instances"]):
            for key in other:
                values = [np.array(each[key], float) for each in (one, other)]
                np.testing.assert_allclose(*values, atol=0.02, err_msg=f"{name} {key}")
