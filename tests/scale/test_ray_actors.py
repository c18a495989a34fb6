"""Runs in actors of Ray on this machine. Ray is started once for all tests."""

import threading
import time

import psutil
import pytest

import tagwise
from servers import serving
from shard_outputs import assert_same, rows_of
from tagwise.errors import UserError
from tagwise.scale import predict_dataset, ray_actors
from tagwise.scale.ray_actors import RayActors, connect, share_out

OPTIONS = {"device": "cpu", "precision": "fp32"}


def actor_processes():
    """The processes of Ray Data's actors on this machine that this process started."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if "MapBatches(ShardActor)" in "".join(each.cmdline())]


def kill_an_actor():
    while not (found := actor_processes()):
        time.sleep(0.05)
    time.sleep(1)
    found[0].kill()


def test_two_actors_of_which_one_is_killed_give_the_rows_of_a_plain_run(
    ray, photos, weights, plain, capfd
):
    killer = threading.Thread(target=kill_an_actor)
    killer.start()
    run = tagwise.predict(
        "photos", weights, out="out", engine="ray", workers=2, shard_size=1, **OPTIONS
    )
    text = run.finish()
    killer.join()
    assert text.startswith("12 photos, ")
    assert run.exit_code == 1
    assert_same(rows_of(photos.parent / "out"), plain)
    printed = capfd.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert f"tagwise: {plain['photos/bad.png']}" in lines
    assert all(line.startswith("tagwise: ") for line in lines)  # Ray may have more to tell
    assert any(line.startswith("tagwise: Ray: A worker died") for line in lines)


def test_messages_of_ray_become_notes_of_one_line(ray, monkeypatch, capsys):
    """As Ray 2.60 words them; the same note is shown once per minute."""
    monkeypatch.setattr(ray._private.worker, "print_to_stdstream", None)
    ray_actors._note_messages()
    for text in (
        "Task MapWorker(MapBatches(ShardActor)).submit failed. There are 5 retries remaining, so",
        "Task MapWorker(MapBatches(ShardActor)).submit failed. There are 4 retries remaining, so",
        "The node with node id: a and address: b has been marked dead because the detector",
        "A worker died or was killed. To troubleshoot the problem, check the logs",
    ):
        ray._private.worker.print_to_stdstream({"lines": [text], "pid": "raylet"})
    assert capsys.readouterr().err.splitlines() == [
        "tagwise: Ray: an actor does not answer; its shard is tried again",
        "tagwise: Ray: a machine does not answer; its shards go to others",
        "tagwise: Ray: A worker died or was killed",
    ]


def test_a_problem_of_a_shard_ends_the_run_in_one_line(ray, photos, weights):
    run = tagwise.predict("photos", weights, out="out", engine="ray", workers=1, **OPTIONS)
    (photos.parent / "out" / "parquet").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot (read|write) .*parquet.*--resume continues"):
        run.finish()


def test_actors_that_keep_ending_end_the_run_in_one_line(ray, photos, weights, monkeypatch):
    def broken(*_, **__):
        raise ray.exceptions.RaySystemError("the actor is unavailable")

    monkeypatch.setattr(ray.data.Dataset, "iter_batches", broken)
    run = tagwise.predict("photos", weights, out="out", engine="ray", workers=1, **OPTIONS)
    with pytest.raises(UserError, match=r"the actor is unavailable.* begins with photos/00.png; "):
        run.finish()


def test_a_dataset_gets_columns_of_results(ray, photos, weights, plain):
    names = list(plain)
    paths = predict_dataset(ray.data.from_items([{"path": n} for n in names]), weights, **FP32)
    rows = {row["path"]: row for row in paths.take_all()}
    assert list(rows) == names or set(rows) == set(names)
    for name, expected in plain.items():
        if isinstance(expected, str):
            assert rows[name]["error"] == expected
            assert rows[name]["instances"] is None
            continue
        found = [instance["score"] for instance in rows[name]["instances"]]
        wanted = [instance["score"] for instance in expected["instances"]]
        assert found == pytest.approx(wanted, abs=1e-3)
        assert rows[name]["width"] == expected["image"]["width"]
    content = [{"bytes": (photos / "00.png").read_bytes(), "id": 7}]
    (row,) = predict_dataset(ray.data.from_items(content), weights, **FP32).take_all()
    assert (row["id"], len(row["instances"])) == (7, len(plain["photos/00.png"]["instances"]))


FP32 = {"precision": "fp32", "workers": 1}


def test_datasets_with_other_columns_are_refused(ray, weights):
    with pytest.raises(UserError, match="give a ray"):
        predict_dataset([{"path": "a"}], weights)
    with pytest.raises(UserError, match="no column with the images; it has"):
        predict_dataset(ray.data.from_items([{"a": 1, "b": 2}]), weights)
    with pytest.raises(UserError, match="no column 'c'"):
        predict_dataset(ray.data.from_items([{"a": 1, "b": 2}]), weights, column="c")
    with pytest.raises(UserError, match="has a column error already"):
        predict_dataset(ray.data.from_items([{"path": "a", "error": 2}]), weights)


def test_actors_are_as_many_as_the_machines_can_hold(ray):
    assert RayActors(None, "auto").workers == 2
    with pytest.raises(UserError, match="Ray has 2 CPU cores, too few for 3 workers"):
        RayActors(3, "cpu")


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "expected"),
    [
        ([{"CPU": 16}], None, "auto", (16, 1, False)),
        ([{"CPU": 16}], 4, "auto", (4, 4, False)),
        ([{"CPU": 16}, {"CPU": 16}], 3, "cpu", (3, 8, False)),
        ([{"CPU": 16, "GPU": 2}, {"CPU": 8, "GPU": 1}], None, "auto", (3, 1, True)),
        ([{"CPU": 16, "GPU": 2}], None, "cpu", (16, 1, False)),
        ([{"CPU": 16, "GPU": 2}], 1, "cuda", (1, 1, True)),
    ],
)
def test_cores_and_gpus_are_shared_out(nodes, workers, device, expected):
    assert share_out(nodes, workers, device) == expected


@pytest.mark.parametrize(
    ("device", "workers", "message"),
    [
        ("cuda", None, "Ray has no GPU"),
        ("cuda:1", None, "use auto, cpu or cuda"),
        ("cpu", 5, "Ray has 4 CPU cores, too few for 5 workers"),
    ],
)
def test_what_machines_lack_is_named(device, workers, message):
    with pytest.raises(UserError, match=message):
        share_out([{"CPU": 4}], workers, device)


def test_a_cluster_of_another_version_or_that_is_away_is_refused(monkeypatch, tmp_path):
    """With the message that Ray 2.60 raises; a real cluster of another version needs two Rays."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot reach the Ray cluster .*127.0.0.1:9"):
        RayActors(1, "cpu")

    def refuse(**_):
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.12.1"
            "\nThis process on node a was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
        )

    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(UserError, match="cannot start Ray on this machine"):
        RayActors(1, "cpu")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:7")
    monkeypatch.setattr(ray_actors, "_answers", lambda _: True)
    with pytest.raises(UserError, match=r"Ray 2.40.0 on Python 3.12.1, and this process has Ray 2"):
        RayActors(1, "cpu")


def test_the_note_of_a_cluster_that_was_killed_does_not_count(monkeypatch, tmp_path):
    ray, given = pytest.importorskip("ray"), []
    monkeypatch.setattr(ray, "init", lambda **options: given.append(options["address"]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    connect(ray)
    assert given == ["local"]


def test_the_end_of_ray_ends_the_command_in_one_line(monkeypatch, capsys):
    ended, codes = threading.Event(), []
    monkeypatch.setattr(ray_actors.os, "_exit", lambda code: (codes.append(code), ended.set()))
    with serving(b"") as server:
        timer = threading.Timer(0.1, ended.set)
        timer.start()
        ray_actors._watch({server.address.removeprefix("http://"): 0.0}, ended, every=0.01)
        timer.join()
    assert codes == []
    ended.clear()
    ray_actors._watch({"127.0.0.1:9": 0.0}, ended, every=0.01)
    assert codes == [2]
    assert "Ray does not answer at 127.0.0.1:9 any more; the same" in capsys.readouterr().err
