"""Pull and push of label maps: a point for every pixel."""

import pytest
import torch

from tag_losses import assert_same, gradients
from tagwise.losses import pull_push, pull_push_dense


@pytest.mark.parametrize("how", [{}, {"push": "hinge", "scope": "class", "images": "none"}])
def test_dense_form_equals_one_point_per_pixel(how):
    torch.manual_seed(0)
    tags = torch.randn(3, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(-1, 4, (3, 6, 5))
    labels[1] = -1
    cls, weight = labels % 2, torch.rand(3, 6, 5)
    where = torch.nonzero(labels >= 0)
    b, y, x = where.unbind(1)
    loss = pull_push_dense(tags, labels, cls=cls, weight=weight, **how)
    pick = {"cls": cls[b, y, x], "weight": weight[b, y, x]}
    expected = pull_push(tags[b, :, y, x], labels[b, y, x], b, batch=3, **pick, **how)
    assert_same(loss, expected)
    for mine, other in zip(gradients(loss, tags), gradients(expected, tags)):
        torch.testing.assert_close(mine, other)
    as_zero = pull_push_dense(tags, labels + 1, cls=cls, weight=weight, background=0, **how)
    assert_same(as_zero, loss)


def test_memory_of_dense_form_grows_with_the_pixels():
    """A quarter of a million pixels would have 60 billion ordered pairs."""
    tags = torch.zeros(1, 1, 512, 512)
    labels = torch.arange(512).div(64, rounding_mode="floor").expand(1, 512, 512)
    assert_same(pull_push_dense(tags, labels), (torch.tensor(0.0), torch.tensor(7 / 8)))


@pytest.mark.parametrize(
    ("tags", "labels", "more"),
    [
        ((2, 1, 4, 4), (2, 4, 5), {}),
        ((2, 4, 4), (2, 4, 4), {}),
        ((2, 1, 4, 4), (2, 4, 4), {"weight": torch.ones(2, 4)}),
    ],
)
def test_mismatched_dense_shapes_are_refused(tags, labels, more):
    with pytest.raises(ValueError, match="got shapes"):
        pull_push_dense(torch.zeros(tags), torch.zeros(labels).long(), **more)
