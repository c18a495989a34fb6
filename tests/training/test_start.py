"""The nearest model to start from."""

import pytest

from tagwise.errors import UserError
from tagwise.models import create_model, shipped_models
from tagwise.models.model_file import read_model_file
from tagwise.models.shipped import shipped_file
from tagwise.skeletons import COCO17
from tagwise.tasks import create_task
from tagwise.training.start import choose_start

MOUSE = ("snout", "left_ear", "right_ear", "tail_base")


@pytest.mark.parametrize(
    ("task", "names", "pretrained", "drop_head"),
    [
        ("pose", COCO17.keypoints, "people", False),
        ("pose", tuple(reversed(COCO17.keypoints)), "people", True),
        ("pose", ("Head", "left hand", "right hand", "tail"), "robots", True),
        ("pose", MOUSE, "bees", True),  # 4 types are nearer to 5 than to 6
        ("pose", tuple("abcdefghijklmnop"), "flies", True),  # not people, who have another network
        ("corners", ("RBC", "WBC", "Platelets"), "blood", False),
        ("corners", ("car",), "blood", True),
        ("pixels", (), "nuclei", False),
    ],
)
def test_nearest_model(task, names, pretrained, drop_head):
    start = choose_start(task, names)
    assert (start.pretrained, start.drop_head) == (pretrained, drop_head)
    assert bool(start.task_options) != drop_head


@pytest.mark.parametrize("name", shipped_models())
def test_network_of_a_start_takes_its_weights(name):
    spec, _ = read_model_file(shipped_file(name))
    names = ("x", "y", "z")
    start = choose_start(spec.task, names, name)
    labels = {"pose": {"skeleton": {"name": "a", "keypoints": list(names)}}, "pixels": {}}
    labels["corners"] = {"classes": list(names)}
    task = create_task(spec.task, **labels[spec.task], **start.task_options)
    create_model(start.network, task, start.pretrained, drop_head=start.drop_head, **start.options)


def test_other_starts():
    assert choose_start("pose", MOUSE, "imagenet").pretrained == "imagenet"
    assert choose_start("pose", MOUSE, "none").pretrained is None
    with pytest.raises(UserError, match="a model of the task corners, not pose"):
        choose_start("pose", MOUSE, "blood")
    with pytest.raises(UserError, match="did you mean 'robots'"):
        choose_start("pose", MOUSE, "robot")
