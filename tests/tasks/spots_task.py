"""A custom task: the complete file that a user writes."""

from dataclasses import dataclass

import numpy as np
from torch.nn import functional as F

from tagwise import grouping, losses
from tagwise.data.coco import CocoKeypoints
from tagwise.evaluation.coco_rows import PoseRows
from tagwise.evaluation.scoring import PoseScorer
from tagwise.geometry import cell_to_pixel
from tagwise.results import Poses
from tagwise.skeletons import Skeleton
from tagwise.tasks.base import Head, Task


@dataclass(frozen=True)
class SpotTask(Task):
    """Keypoints in single cells, separated by a tag of one component."""

    skeleton: Skeleton

    name, result, dataset, scorer = "spots", Poses, CocoKeypoints, PoseScorer

    def heads(self):
        return {"heat": Head(len(self.skeleton), "heatmap"), "tag": Head(len(self.skeleton), "tag")}

    def encode(self, sample, stride):
        heat = np.zeros((len(self.skeleton), *(s // stride for s in sample.image.shape[:2])), "f4")
        who, kind = np.nonzero(sample.keypoints[..., 2] > 0)
        x, y = (sample.keypoints[who, kind, :2] // stride).astype(int).T
        heat[kind, y, x] = 1
        return {"heat": heat, "points": np.stack([kind, y, x], 1), "group": who}

    def loss(self, outputs, targets):
        kind, y, x = targets["points"].T
        tags = outputs["tag"][targets["image"], kind, y, x][:, None]
        tag_loss = losses.pull_push(tags, targets["group"], targets["image"])
        terms = {"heat": F.binary_cross_entropy_with_logits(outputs["heat"], targets["heat"])}
        terms |= {"pull": tag_loss.pull, "push": tag_loss.push}
        return {**terms, "total": sum(terms.values())}

    def decode_input(self, outputs, stride):
        found = grouping.decode_keypoints(outputs["heat"].float().sigmoid(), outputs["tag"].float())
        for groups in found:
            groups.keypoints[..., :2] = cell_to_pixel(groups.keypoints[..., :2], stride)
        return [Poses(g.keypoints, g.scores, g.tags, self.skeleton) for g in found]

    def rows(self, labels):
        return PoseRows(labels, self.skeleton)

    def make_scorer(self, dataset, **options):
        return PoseScorer(dataset, self.skeleton, **options)
