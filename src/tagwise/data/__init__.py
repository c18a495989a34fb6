"""Datasets of annotated photos, their transforms and augmentation.

Datasets give the samples that tasks encode as training targets.

Imports `errors`, `files`, `geometry`, `label_maps`, `settings` and `skeletons`.
"""

from tagwise.data.augment import Augment
from tagwise.data.boxes import CocoBoxes
from tagwise.data.coco import CocoKeypoints
from tagwise.data.images import read_image
from tagwise.data.label_maps import LabelMaps
from tagwise.data.report import Problem, summary
from tagwise.data.sample import Sample
from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.data.training_set import TrainingSet
from tagwise.data.transforms import Affine, fit_affine, warp_sample

__all__ = [
    "Affine",
    "Augment",
    "CocoBoxes",
    "CocoKeypoints",
    "LabelMaps",
    "Problem",
    "Sample",
    "SyntheticPoses",
    "SyntheticShapes",
    "TrainingSet",
    "fit_affine",
    "read_image",
    "summary",
    "warp_sample",
]
