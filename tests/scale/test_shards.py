"""Plans, shards and their files, without processes."""

import json

import numpy as np
import pytest

from disks import file_limit
from shard_outputs import assert_same, rows_of
from tagwise.errors import UserError
from tagwise.files import Store
from tagwise.prediction.predictor import Outcome
from tagwise.prediction.run import fingerprint
from tagwise.results import Boxes, Masks
from tagwise.scale.images import list_images
from tagwise.scale.plan import make_plan, open_plan
from tagwise.scale.shards import Summary, file_names, find_whole
from tagwise.scale.table import read_results, to_parquet
from tagwise.scale.worker import Work, Worker

OPTIONS = {"precision": "fp32", "device": "cpu"}


@pytest.fixture
def work(photos, weights):
    """Work in the folder `out`, and its shards of four images."""
    images = list_images("photos")
    plan = make_plan(images, 4, 1, "w", {})
    work = Work(
        weights, OPTIONS, fingerprint(weights), str(photos.parent / "out"), str(photos.parent)
    )
    return work, list(plan.shards(images))


def test_shards_have_the_rows_of_a_plain_run(work, plain, photos):
    work, shards = work
    worker = Worker(work)
    summaries = [worker(shard) for shard in shards]
    found = rows_of(photos.parent / "out")
    assert_same(found, plain)
    assert [each.images for each in summaries] == [4, 4, 4]
    assert sum(each.failed for each in summaries) == 1
    (message,) = (text for each in summaries for text in each.failures)
    assert message == plain["photos/bad.png"]
    count = sum(len(row["instances"]) for row in plain.values() if isinstance(row, dict))
    assert sum(each.instances for each in summaries) == count
    assert Summary.from_json(summaries[0].to_json()) == summaries[0]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_shard_is_computed_again(work, photos, which, damage):
    work, shards = work
    first = Worker(work)(shards[0])
    assert not first.earlier
    assert Worker(work)(shards[0]).earlier
    path = photos.parent / "out" / file_names(0)[which]
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-5])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert find_whole(Store(work.out), shards[0]) is None
    assert not Worker(work)(shards[0]).earlier
    assert path.read_bytes() == content


def test_what_a_killed_process_left_is_removed(tmp_path):
    store = Store(tmp_path)
    store.write("done/a.json", b"1")
    (tmp_path / "done" / ".b.json.0.999999999.partial").write_bytes(b"2")
    store.tidy()
    assert [path.name for path in (tmp_path / "done").iterdir()] == ["a.json"]


def test_the_record_of_other_images_does_not_count(work):
    work, shards = work
    Worker(work)(shards[0])
    assert find_whole(Store(work.out), shards[1]) is None
    assert find_whole(Store(work.out), type(shards[0])(0, 0, shards[0].images[:2])) is None


def test_a_full_disk_is_a_problem_of_one_line_and_leaves_no_shard(work, photos):
    work, shards = work
    with file_limit(100):
        summary = Worker(work)(shards[0])
    assert "cannot write" in summary.problem
    assert summary.exit_code == 2
    assert not list((photos.parent / "out").rglob("*.*"))
    assert Worker(work)(shards[0]).problem is None


def test_other_weights_on_a_machine_are_refused(work):
    work, shards = work
    other = Work(work.weights, OPTIONS, "people 00000000", work.out, work.base)
    assert "is another file on this machine" in Worker(other)(shards[0]).problem


# ---------------------------------------------------------------------- plans


@pytest.mark.parametrize(
    ("count", "workers", "size"), [(5, 2, 8), (600, 2, 37), (10**6, 4, 1000), (100, 1, 12)]
)
def test_the_size_of_shards_suits_the_number_of_images(count, workers, size):
    plan = make_plan(["a"] * count, None, workers, "w", {})
    assert plan.shard_size == size
    shards = list(plan.shards(["a"] * count))
    assert sum(len(shard.images) for shard in shards) == count
    assert [shard.first for shard in shards][:2] == [0, size][: len(shards)]


def test_a_run_continues_only_its_own_plan(tmp_path):
    out, images = Store(tmp_path / "out"), ["a.jpg", "b.jpg"]
    plan = make_plan(images, 1, 1, "w 1", {"threshold": 0.5})
    assert open_plan(out, plan, resume=True, sized=True) == plan
    assert open_plan(out, plan, resume=True, sized=True) == plan
    other_size = make_plan(images, None, 1, "w 1", {"threshold": 0.5})
    assert open_plan(out, other_size, resume=True, sized=False).shard_size == 1
    with pytest.raises(UserError, match="earlier run; continue it with --resume"):
        open_plan(out, plan, resume=False, sized=True)
    for changed, message in (
        (make_plan(images, 2, 1, "w 1", {"threshold": 0.5}), "shard_size was 1, is now 2"),
        (make_plan(images, 1, 1, "w 2", {"threshold": 0.5}), "weights was 'w 1', is now 'w 2'"),
        (make_plan(images, 1, 1, "w 1", {"threshold": 0.4}), "threshold was 0.5, is now 0.4"),
        (make_plan(images[:1], 1, 1, "w 1", {"threshold": 0.5}), "images was 2, is now 1"),
        (make_plan(["a.jpg", "c.jpg"], 1, 1, "w 1", {"threshold": 0.5}), "it had other images"),
    ):
        with pytest.raises(UserError, match=message):
            open_plan(out, changed, resume=True, sized=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"images": 1}', '{"format": 99}'])
def test_a_damaged_plan_is_refused(tmp_path, content):
    out, plan = Store(tmp_path / "out"), make_plan(["a.jpg"], 1, 1, "w", {})
    open_plan(out, plan, resume=False, sized=True)
    if content == '{"format": 99}':
        values = json.loads((tmp_path / "out" / "plan.json").read_text())
        content = json.dumps({**values, "format": 99})
    (tmp_path / "out" / "plan.json").write_text(content)
    with pytest.raises(UserError, match=r"is damaged|newer version"):
        open_plan(out, plan, resume=True, sized=True)


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_with_other_files_is_refused(tmp_path, resume):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes.txt|no output of a run in shards"):
        open_plan(Store(tmp_path), make_plan(["a.jpg"], 1, 1, "w", {}), resume, sized=True)


# ---------------------------------------------------------------------- tables of other tasks


@pytest.mark.parametrize(
    "result",
    [
        Boxes(
            np.array([[10, 20, 30, 40.25]]),
            np.array([0.9]),
            np.array([1]),
            ("RBC", "WBC"),
            np.array([[0.8, 0.7]]),
            np.array([[[0.1], [0.2]]]),
            file="a.jpg",
            width=90,
            height=80,
            model="m",
        ),
        Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), ("RBC",), file="a.jpg"),
        Masks(np.array([[1, 1, 0, 2]]), np.array([0.9, 0.8]), np.ones((2, 3)), file="a.jpg"),
    ],
)
def test_results_of_every_task_are_kept(result):
    outcomes = [Outcome("a.jpg", result=result), Outcome("b.jpg", error=UserError("damaged"))]
    content = to_parquet(5, ["a.jpg", "b.jpg"], outcomes, result.task)
    (found,) = read_results(content)
    assert found.to_dict() == result.to_dict()
