"""Proposed edges, and measured OKS constants."""

import numpy as np
import pytest

from labelled_sets import bees
from shared_folder import SHARED
from tagwise.data.coco import CocoKeypoints
from tagwise.labels.skeletons import measured_sigmas, propose_edges, relative_distances


@pytest.mark.parametrize("turn", [0.2, np.pi], ids=["upright", "any direction"])
def test_proposed_edges_are_the_rigid_parts(turn):
    keypoints = bees(np.random.default_rng(0), 60, turn)
    assert propose_edges(keypoints) == ((0, 1), (1, 2), (2, 3), (2, 4))


def test_unlabelled_keypoints_do_not_change_the_proposal():
    rng = np.random.default_rng(1)
    keypoints = bees(rng, 200)
    keypoints[rng.random((200, 5)) < 0.3] = 0
    assert propose_edges(keypoints) == ((0, 1), (1, 2), (2, 3), (2, 4))


def test_types_that_are_never_labelled_together_have_no_edge():
    keypoints = bees(np.random.default_rng(2), 20)
    keypoints[:, 4] = 0
    assert all(4 not in edge for edge in propose_edges(keypoints))
    assert propose_edges(keypoints[:0]) == ()


def test_relative_distances_do_not_depend_on_size_and_direction():
    one = bees(np.random.default_rng(3), 1)
    other = one.copy()
    other[..., :2] = 3 * one[..., [1, 0]] + 7
    distances, _ = relative_distances(np.concatenate([one, other]))
    np.testing.assert_allclose(distances[0], distances[1])


def test_edges_of_the_shared_bees_are_those_of_their_authors():
    if not (SHARED / "data" / "bees").is_dir():
        pytest.skip("needs the shared data")
    data = CocoKeypoints(SHARED / "data/bees/train.json", SHARED / "data/bees/images")
    keypoints = np.concatenate([data.instances(index)[0] for index in range(len(data))])
    found = {frozenset(edge) for edge in propose_edges(keypoints.astype(float))}
    assert found == {frozenset(edge) for edge in data.skeleton.edges}


def test_sigmas_are_measured_from_repeated_labels():
    rng = np.random.default_rng(4)
    truth, sigmas = bees(rng, 400, length=(100, 100)), np.array([0.02, 0.03, 0.05, 0.04, 0.03])
    area = 80.0 * 60.0
    images, areas = [], []
    for each in truth:
        noise = rng.normal(0, 1, (2, 5, 2)) * (sigmas * np.sqrt(area))[:, None]
        labels = np.repeat(each[None], 2, 0)
        labels[..., :2] += noise / np.sqrt(2)  # d² is the sum over x and y of both labels
        images.append(labels)
        areas.append(np.full(2, area))
    # d² / 2s² of two labels, each with half of the variance: σ² in expectation, as in COCO.
    np.testing.assert_allclose(measured_sigmas(images, areas), sigmas, rtol=0.15)
    assert measured_sigmas(images[:10], areas[:10]) is None
    assert measured_sigmas([each[:1] for each in images], areas) is None
