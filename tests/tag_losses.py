"""Points with tags, and their losses and gradients, for the tests of losses."""

import torch


def scene(seed, points=40, images=3, people=5, dim=2):
    """Random float64 points; some ignored, some images empty, ids with gaps."""
    draw = torch.Generator().manual_seed(seed)
    tags = 2 * torch.randn(points, dim, generator=draw, dtype=torch.float64)
    group = torch.randint(-2, people, (points,), generator=draw)
    group = torch.where(group > 0, group * 7919 + 3, group)
    image = torch.randint(0, images, (points,), generator=draw)
    cls = (group * 31 + image) % 3 - 1
    weight = torch.randint(0, 4, (points,), generator=draw) / 2
    return tags, group, image, cls, weight


def gradients(loss, tags):
    """Gradients of pull and of push."""
    return [
        torch.autograd.grad(term.sum(), tags, retain_graph=True, allow_unused=True)[0]
        for term in loss
    ]


def gradient(loss, tags):
    """Gradient of both; a compiled graph allows only one backward pass."""
    return torch.autograd.grad(loss.pull + 2 * loss.push, tags)[0]


def assert_same(loss, expected, **tolerance):
    for name, value, other in zip(("pull", "push"), loss, expected):
        torch.testing.assert_close(
            value, other, msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )
