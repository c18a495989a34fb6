"""Fusion of the boxes from several passes of one image."""

from __future__ import annotations

import numpy as np

from tagwise.geometry import iou


def fuse_boxes(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    passes: np.ndarray,
    overlap: float = 0.55,
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Weighted boxes fusion (Solovyev, Wang, Gabruseva 2021, arXiv:1910.13302, section 3).

    In order of falling score, each box joins the group of its class whose mean overlaps it most, if
    the overlap is more than `overlap` and the group has no other box of its pass; otherwise it
    starts a group. The box of a group is the mean of its members, weighted by score. The score of a
    group is the sum of its members' scores divided by the number of passes, so that an object found
    in one of three passes counts a third.

    boxes: (N, 4) x1, y1, x2, y2. scores: (N,). classes: (N,). passes: (N,) int, the pass that
    each box is from.

    Returns, best first, the members of each group (indices of boxes), and the groups' boxes (M, 4)
    and scores (M,), float32.

    >>> two = np.array([[0, 0, 4, 4], [0, 0, 4, 5.0]])
    >>> groups, fused, scores = fuse_boxes(two, [0.6, 0.6], [0, 0], [0, 1])
    >>> fused.tolist(), scores.round(2).tolist()
    ([[0.0, 0.0, 4.0, 4.5]], [0.6000000238418579])
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores, classes, passes = (np.asarray(values) for values in (scores, classes, passes))
    count = max(1, len(np.unique(passes)))
    means, members = np.empty((0, 4)), []
    for n in np.argsort(-scores, kind="stable"):
        fits = np.array(
            [classes[g[0]] == classes[n] and passes[n] not in passes[g] for g in members]
        )
        shared = np.where(fits, iou(boxes[n], means)[0], 0) if members else np.zeros(1)
        best = int(shared.argmax())
        if shared[best] > overlap:
            members[best].append(n)
            group = members[best]
            means[best] = np.average(boxes[group], axis=0, weights=np.maximum(scores[group], 1e-9))
        else:
            members.append([n])
            means = np.concatenate([means, boxes[n : n + 1]])
    fused = np.array([scores[group].sum() / count for group in members])
    order = np.argsort(-fused, kind="stable")
    groups = [np.array(members[g]) for g in order]
    return groups, means[order].astype(np.float32), fused[order].astype(np.float32)
