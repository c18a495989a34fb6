"""The EfficientHRNets with associative embedding of Open Model Zoo, and how its demo tests them.

human-pose-estimation-0005, -0006 and -0007 are OpenVINO files without a description of their maps.
They return "heatmaps", in which every cell that is not the largest of its 5 × 5 window is negated,
and "embeddings".
"""

from __future__ import annotations

from tagwise.grouping.settings import GroupingSettings
from tagwise.published.recognise import DECODERS, grouping_order
from tagwise.skeletons import Skeleton, skeleton_with
from tagwise.tasks import PoseTask

FAMILY = "EfficientHRNet of Open Model Zoo"
DECODER = DECODERS["openmodelzoo"]
MULTIPLE = 32  # the demo makes sides multiples of it


def openmodelzoo_task(count: int, tag_dim: int) -> PoseTask:
    """The task of a network with `count` heatmaps and tags of `tag_dim` components.

    People are grouped as in the demo, demos/human_pose_estimation_demo of
    openvinotoolkit/open_model_zoo.
    """
    names = tuple(f"keypoint_{n + 1}" for n in range(count))
    return PoseTask(
        skeleton_with(count) or Skeleton("instance", names),
        tag_dim=tag_dim,
        sigma=2.0,
        published="higherhrnet",
        weights={"heatmaps": 1.0, "pull": 1e-3, "push": 1e-3, "offsets": 0.0},
        grouping=GroupingSettings.preset("openmodelzoo", order=grouping_order(count, "mmpose")),
    )
