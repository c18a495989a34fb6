"""Tests of the calibration of scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagwise.errors import UserError
from tagwise.evaluation.calibration import Calibration, cross_validated, fit_calibration
from tagwise.evaluation.diagnosis.reliability import reliability

VALUES = st.floats(0.01, 20)


def drawn(count, seed=0, a=2.0, b=0.5, c=1.0):
    """Scores, and whether they are right, by the model of beta calibration itself."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.001, 0.999, count)
    odds = scores**a / (1 - scores) ** b * np.exp(c)
    return scores, rng.uniform(size=count) < odds / (1 + odds)


def test_a_fit_finds_the_values_that_the_data_were_drawn_with():
    found = fit_calibration(*drawn(100_000))
    assert (found.a, found.b, found.c) == pytest.approx((2, 0.5, 1), abs=0.06)


def test_a_fit_agrees_with_a_regression_by_gradient_descent():
    scores, right = drawn(400, seed=3)
    found = fit_calibration(scores, right)
    features = np.stack([np.log(scores), -np.log(1 - scores), np.ones(400)], 1)
    values = np.zeros(3)
    for _ in range(40):  # Newton's method
        p = 1 / (1 + np.exp(-features @ values))
        hessian = features.T @ (features * (p * (1 - p))[:, None])
        values += np.linalg.solve(hessian, features.T @ (right - p))
    np.testing.assert_allclose((found.a, found.b, found.c), values, rtol=2e-3, atol=2e-3)


@given(VALUES, VALUES, st.floats(-20, 20))
def test_the_map_is_monotone_and_can_be_inverted(a, b, c):
    calibration = Calibration(a, b, c)
    scores = np.linspace(0, 1, 101)
    mapped = calibration(scores)
    assert (np.diff(mapped) >= 0).all()
    assert 0 <= mapped[0] <= mapped[-1] <= 1
    middle = float(calibration(np.array(0.3)))
    again = float(calibration(np.array(calibration.inverse(middle))))
    assert again == pytest.approx(middle, rel=1e-6)


def test_calibrated_scores_say_how_many_are_right_on_other_images():
    scores, right = drawn(5000, seed=1, c=-2.0)
    images = np.arange(5000) // 10
    held = cross_validated(scores, right, images)
    assert reliability(scores, right)["ece"] > 0.1
    assert reliability(held, right)["ece"] < 0.03
    near = np.abs(held - 0.5) < 0.1
    assert right[near].mean() == pytest.approx(0.5, abs=0.06)


def test_each_image_is_calibrated_without_its_own_detections():
    scores, right = drawn(300, seed=2)
    images = np.repeat([7, 3, 99, 12, 50], 60)
    before = cross_validated(scores, right, images)
    changed = np.where(images == 99, ~right, right)
    after = cross_validated(scores, changed, images)
    same = np.isclose(before, after)
    assert same[images == 99].all()
    assert not same[images != 99].any()


def test_too_few_detections_are_named():
    with pytest.raises(UserError, match="3 detections are right and 12 are wrong"):
        fit_calibration(np.linspace(0, 1, 15), np.arange(15) < 3)


@pytest.mark.parametrize(
    "values",
    [[1, 2, 3], {"a": 1, "b": 1}, {"a": -1, "b": 1, "c": 0}, {"a": 0, "b": 0, "c": 0},
     {"a": "1", "b": 1, "c": 0}, {"a": True, "b": 1, "c": 0}, {"a": 1, "b": 1, "c": float("inf")}],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(values):
    with pytest.raises(UserError, match="calibration"):
        Calibration.from_decoder({"calibration": values})


def test_model_files_without_a_calibration_have_none():
    assert Calibration.from_decoder({"threshold": 0.3}) is None
