"""Training whose batch is divided: over two processes, into parts, and over a stop."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from small_runs import FIGURE, losses, recipe_for, rows, write_scenes
from tagwise.commands.evaluate import evaluate
from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.errors import UserError
from tagwise.models import create_model
from tagwise.tasks import PoseTask
from tagwise.tasks.corners import CornerTask
from tagwise.tasks.pixels import PixelTask
from tagwise.training.loop import run_training
from tagwise.training.model import synchronise_batch_norm
from tagwise.training.recipe import save_recipe
from tagwise.training.step import share_divisors

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
# With --cpu, accelerate starts one process; its launcher of several is called multi_gpu.
ACCELERATE = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
ACCELERATE += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
ACCELERATE += ["--main_process_port=0"]
STEPS = 8
FIRST = 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A folder with twelve photos to train on and five to validate."""
    folder = tmp_path_factory.mktemp("processes")
    write_scenes(folder, "train", 12, seed=0)
    write_scenes(folder, "val", 5, seed=1)
    return folder


def recipe_without_statistics(scenes, steps=STEPS, **optim):
    """A recipe for a run that any division of its batch leaves the same.

    Batch norms are frozen, since their statistics are those of one part, and the learning rate is
    constant, so that a run of fewer steps is the beginning of a longer one.
    """
    recipe = recipe_for(scenes, steps, save_every=0)
    model = create_model("small", PoseTask(FIGURE), width=16)
    norms = [n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    return replace(
        recipe,
        model=replace(recipe.model, freeze=tuple(norms)),
        optim=replace(
            recipe.optim, **{"batch": 4, "warmup": 0.0, "drops": (1.0,), "lr": 1e-4, **optim}
        ),
    )


def train_in_two(launch, recipe, folder, program=("-m", "tagwise")):
    """Train with a launcher of two processes; returns the ended launcher."""
    path = folder.parent / f"{folder.name}.yaml"
    save_recipe(recipe, path)
    command = [sys.executable, *launch, *program, "train", path, "--out", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, check=False
    )


def train_alone(recipe, folder, **options):
    folder.mkdir(exist_ok=True)
    run_training(recipe, folder, **options)
    return losses(folder)


@pytest.fixture(scope="module")
def whole(scenes):
    """The losses of one process with batches of 8 photos."""
    return train_alone(recipe_without_statistics(scenes, batch=8), scenes / "whole")


@pytest.fixture(scope="module")
def run(scenes):
    """The folder of a run of four steps in two processes, and what it printed."""
    ran = train_in_two(TORCHRUN, recipe_without_statistics(scenes, FIRST), scenes / "run")
    assert ran.returncode == 0, ran.stderr[-3000:]
    return scenes, ran.stderr


def assert_same_curve(found, expected, steps=STEPS):
    assert list(found) == list(range(1, steps + 1))
    for step, loss in found.items():
        assert loss == pytest.approx(expected[step], rel=5e-5), step
    assert expected[steps] < 0.9 * expected[1]  # it learns


def test_two_processes_have_the_losses_of_one(run, whole):
    assert_same_curve(losses(run[0] / "run"), whole, FIRST)


def test_accelerate_launch_has_the_losses_of_one(scenes, whole):
    folder = scenes / "accelerate"
    ran = train_in_two(ACCELERATE, recipe_without_statistics(scenes, FIRST), folder)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert_same_curve(losses(folder), whole, FIRST)


def test_accumulated_parts_have_the_losses_of_one_batch(scenes, whole):
    recipe = recipe_without_statistics(scenes, batch=2, accumulate=4)
    assert_same_curve(train_alone(recipe, scenes / "parts"), whole)


def test_one_process_continues_the_run_of_two(run, whole, capsys):
    """With as many images per step, the losses are those of a run that was not stopped."""
    scenes, _ = run
    folder = shutil.copytree(scenes / "run", scenes / "resumed")
    train_alone(recipe_without_statistics(scenes, batch=8), folder, resume=True)
    assert_same_curve(losses(folder), whole)
    assert "a step had" not in capsys.readouterr().err


def test_other_number_of_images_per_step_is_noted(scenes, capsys):
    folder = scenes / "fewer"
    train_alone(recipe_without_statistics(scenes, steps=2), folder)
    train_alone(recipe_without_statistics(scenes, steps=3, batch=2), folder, resume=True)
    assert "a step had 4 images and now has 2" in capsys.readouterr().err


def test_each_photo_of_the_validation_set_counts_once(run):
    """The figure is that of one process that measures the whole set of five photos."""
    folder, _ = run
    best = max((row for row in rows(folder / "run") if "val_AP" in row), key=lambda r: r["val_AP"])
    arguments = (folder / "run" / "best.safetensors", folder / "val.json", folder / "val")
    measured = evaluate(*arguments, quiet=True)["metrics"]
    assert measured["AR"] == best["val_AR"]
    assert measured["AP"] == best["val_AP"]


def test_only_the_main_process_writes(run):
    folder, told = run
    assert [row["step"] for row in rows(folder / "run") if "total" in row] == [*range(1, FIRST + 1)]
    assert told.count("2 processes, cpu, fp32") == 1
    assert told.count(f"step {FIRST}: AP") == 1
    assert f"{FIRST} with 8 images each" in told


def test_one_failing_process_ends_all_with_its_message(scenes):
    """The other process waits for gradients that never come, until the launcher ends it."""
    folder = scenes / "failing"
    program = scenes / "fails_in_one.py"
    program.write_text(
        "import os, sys\n"
        "from tagwise.cli import main\n"
        "from tagwise.errors import UserError\n"
        "from tagwise.training.data import EncodedSamples\n"
        "def fail(self, items): raise UserError('photo 7 of this process is bad')\n"
        "if os.environ['RANK'] == '1': EncodedSamples.collate = fail\n"
        "sys.exit(main())\n"
    )
    ran = train_in_two(TORCHRUN, recipe_without_statistics(scenes), folder, [program])
    assert ran.returncode != 0
    assert ran.stderr.count("tagwise: photo 7 of this process is bad") == 1
    assert not (folder / "last.safetensors").exists()


def test_a_signal_to_one_process_ends_all_after_the_same_step(scenes, whole):
    """The checkpoint is written, all end with the code of the signal, and the run continues."""
    folder = scenes / "stopped"
    program = scenes / "stops_in_one.py"
    program.write_text(
        "import os, signal, sys\n"
        "from tagwise.cli import main\n"
        "from tagwise.training.log import TrainingLog\n"
        "log = TrainingLog.step\n"
        "def step(self, number, *rest):\n"
        "    if os.environ['RANK'] == '1' and number == 3: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return log(self, number, *rest)\n"
        "TrainingLog.step = step\n"
        "code = main()\n"
        "print('ended with', code, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    ran = train_in_two(TORCHRUN, recipe_without_statistics(scenes), folder, [program])
    assert ran.returncode != 0
    assert ran.stderr.count("ended with 143") == 2
    assert "--resume continues from here" in ran.stderr
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 3
    train_alone(recipe_without_statistics(scenes, batch=8), folder, resume=True)
    assert_same_curve(losses(folder), whole)


def test_threads_of_collectives_end_before_the_interpreter(scenes):
    """One that frees a tensor while the interpreter ends would abort the process, now and then."""
    program = scenes / "ends_the_group.py"
    program.write_text(
        "import atexit, sys, torch\n"
        "from tagwise.cli import main\n"
        "def check():\n"
        "    print('group left', torch.distributed.is_initialized(), file=sys.stderr)\n"
        "atexit.register(check)\n"  # called after all that are registered later
        "sys.exit(main())\n"
    )
    recipe = recipe_without_statistics(scenes, steps=1)
    ran = train_in_two(TORCHRUN, recipe, scenes / "ends", [program])
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stderr.count("group left False") == 2


def test_batch_norms_cannot_be_synchronised_on_cpus():
    two = SimpleNamespace(num_processes=2, device=torch.device("cpu"))
    with pytest.raises(UserError, match=r"run\.sync_batch_norm needs a GPU for each process"):
        synchronise_batch_norm(create_model("small", PoseTask(FIGURE), width=16), two)


def test_batch_norms_are_synchronised_on_gpus_and_stay_frozen():
    model = create_model("small", PoseTask(FIGURE), width=16).freeze("trunk.backbone.stem")
    names = list(model.state_dict())
    synchronise_batch_norm(model, SimpleNamespace(num_processes=2, device=torch.device("cuda")))
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    assert list(model.state_dict()) == names
    assert not model.train().get_submodule("trunk.backbone.stem").training


def pose_batch(focal):
    task = PoseTask(FIGURE, heatmap_loss="focal" if focal else "mse_sigmoid", offsets=True)
    samples = SyntheticPoses(FIGURE, length=6, seed=3, size=(64, 64), people=(1, 3))
    return task, samples


def corner_batch():
    samples = SyntheticShapes(length=6, seed=3, size=(64, 64))
    return CornerTask(samples.classes), samples


@pytest.mark.parametrize("kind", ["mse", "focal", "corners"])
def test_losses_of_uneven_parts_average_to_the_loss_of_the_batch(kind):
    """Parts of equally many photos with different numbers of instances."""
    task, samples = corner_batch() if kind == "corners" else pose_batch(kind == "focal")
    encoded = [task.encode(samples[i], 4) for i in range(6)]
    generator = torch.Generator().manual_seed(0)
    outputs = {
        name: torch.randn(6, head.channels, 16, 16, generator=generator)
        for name, head in task.heads().items()
    }
    expected = task.loss(outputs, task.collate(encoded))
    parts = [{4: task.collate(encoded[i : i + 2])} for i in (0, 2, 4)]
    alone = SimpleNamespace(num_processes=1, reduce=lambda value, how: value)
    own = [task.loss(take(outputs, i), parts[i // 2][4]) for i in (0, 2, 4)]
    share_divisors(task, parts, alone)
    shared = [task.loss(take(outputs, i), parts[i // 2][4]) for i in (0, 2, 4)]
    for name, term in expected.items():
        assert torch.isclose(mean(shared, name), term, rtol=1e-5), name
    assert not torch.isclose(mean(own, "heatmaps"), expected["heatmaps"], rtol=1e-3)


def dice(outputs, targets):
    """One minus the soft Dice coefficient of the foreground, in cells that count."""
    counts = targets["weight"] > 0
    found, truth = outputs["foreground"][:, 0].sigmoid()[counts], targets["foreground"][counts]
    return 1 - 2 * ((found * truth).sum() + 1) / (found**2 + truth**2).sum().add(2)


def test_masks_of_uneven_parts_average_except_for_their_dice_term():
    """Instances and ignored regions of different sizes in each part."""
    task, draw = PixelTask(), np.random.default_rng(0)
    targets = []
    for i in range(6):
        labels = np.where(np.arange(256).reshape(16, 16) < 30 * i + 9, i % 2, -1)
        weight = draw.uniform(0.5, 3, (16, 16)) * (np.arange(16) > i)
        foreground = (labels >= 0).astype(np.float32)
        targets.append({"labels": labels, "foreground": foreground, "weight": np.float32(weight)})
    generator = torch.Generator().manual_seed(0)
    outputs = {
        n: torch.randn(6, h.channels, 16, 16, generator=generator) for n, h in task.heads().items()
    }
    whole = task.collate(targets)
    expected = task.loss(outputs, whole)
    expected["foreground"] -= dice(outputs, whole)
    parts = [{4: task.collate(targets[i : i + 2])} for i in (0, 2, 4)]
    alone = SimpleNamespace(num_processes=1, reduce=lambda value, how: value)
    own = [task.loss(take(outputs, i), parts[i // 2][4]) for i in (0, 2, 4)]
    share_divisors(task, parts, alone)
    shared = [task.loss(take(outputs, i), parts[i // 2][4]) for i in (0, 2, 4)]
    for i, terms in zip((0, 2, 4), shared):
        terms["foreground"] -= dice(take(outputs, i), parts[i // 2][4])
    for name in ("foreground", "seeds", "pull", "push"):
        assert torch.isclose(mean(shared, name), expected[name], rtol=1e-5), name
    assert not torch.isclose(mean(own, "seeds"), expected["seeds"], rtol=1e-3)


def take(outputs, start):
    return {name: maps[start : start + 2] for name, maps in outputs.items()}


def mean(terms, name):
    return torch.stack([each[name] for each in terms]).mean()
