"""Keypoint names and OKS constants of public data sets of people.

Orders and values are those of the data sets' own evaluation programs, as mmpose lists them under
configs/_base_/datasets, too.
"""

from __future__ import annotations

COCO_NAMES = (
    "nose",
    *("left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
# cocodataset/cocoapi, cocoeval.py, Params.setKpParams
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)

CROWDPOSE_NAMES = (
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("head", "neck"),
)
# Jeff-sjtu/CrowdPose, crowdpose-api, cocoeval.py, Params.setKpParams
CROWDPOSE_SIGMAS = (
    *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107),
    *(0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
)

AIC_NAMES = (
    *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("head_top", "neck"),
)
# AIChallenger/AI_Challenger_2017, Evaluation/keypoint_eval/keypoint_eval.py
AIC_SIGMAS = (
    *(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642),
    *(0.03686941, 0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173),
)

MHP_NAMES = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "thorax", "upper_neck", "head_top"),
    *("right_wrist", "right_elbow", "right_shoulder"),
    *("left_shoulder", "left_elbow", "left_wrist"),
)
# The data set has none; open-mmlab/mmpose, configs/_base_/datasets/mhp.py, adapted COCO's.
MHP_SIGMAS = (
    *(0.089, 0.083, 0.107, 0.107, 0.083, 0.089, 0.026, 0.026, 0.026, 0.026),
    *(0.062, 0.072, 0.179, 0.179, 0.072, 0.062),
)

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
WHOLEBODY_NAMES = (
    *COCO_NAMES,
    *("left_big_toe", "left_small_toe", "left_heel"),
    *("right_big_toe", "right_small_toe", "right_heel"),
    *(f"face-{point}" for point in range(68)),
    *("left_hand_root", *(f"left_{finger}{joint}" for finger in _FINGERS for joint in range(1, 5))),
    *(
        "right_hand_root",
        *(f"right_{finger}{joint}" for finger in _FINGERS for joint in range(1, 5)),
    ),
)
# The 68 points of the 300-W faces: outline, brows, nose, eyes, lips. Point n of a row becomes point
# (key - n) in a mirrored image; the ridge of the nose stays.
FACE_MIRRORS = {
    16: range(17),
    43: range(17, 27),
    66: range(31, 36),
    81: (36, 37, 38, 39, 42, 43, 44, 45),
    87: (40, 41, 46, 47),
    102: range(48, 55),
    114: range(55, 60),
    124: range(60, 65),
    132: range(65, 68),
}
_FOOT_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
_FACE_SIGMAS = (
    *(0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032),
    *(0.037, 0.038, 0.043, 0.041, 0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011),
    *(0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010),
    *(0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034),
    *(0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007),
    *(0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.01, 0.008),
)
_HAND_SIGMAS = (
    *(0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024),
    *(0.022, 0.026, 0.017, 0.021, 0.021, 0.032, 0.02, 0.019, 0.022, 0.031),
)
# jin-s13/COCO-WholeBody, evaluation/myeval_wholebody.py
WHOLEBODY_SIGMAS = (*COCO_SIGMAS, *_FOOT_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS)
