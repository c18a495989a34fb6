"""The other embedding losses against slow loops over the formulas of their papers."""

import math

import pytest
import torch
from torch.nn import functional as F

from tag_losses import scene
from tagwise import losses

LOSSES = {
    "discriminative": losses.discriminative,
    "cosine": losses.cosine,
    "contrastive": losses.contrastive,
    "spatial": lambda *points, **how: losses.spatial(*points, bandwidth=width_of(points[0]), **how)[
        :2
    ],
}


def width_of(tags):
    """A bandwidth for `spatial` that differs between points."""
    return (
        tags.detach().to(torch.promote_types(tags.dtype, torch.float32)).square().sum(1) / 4 + 0.5
    )


def points_of(tags, group, image, weight, one):
    """The groups of an image: a list of (tags, weights), in order of the group id."""
    used = (image == one) & (group >= 0) & (weight > 0)
    ids = group[used].unique().tolist()
    return [(tags[used & (group == g)], weight[used & (group == g)]) for g in ids]


def mean(tags, weight):
    return (tags * weight[:, None]).sum(0) / weight.sum()


def discriminative(tags, group, image, weight, one):
    groups = points_of(tags, group, image, weight, one)
    means = [mean(*g) for g in groups]
    pull = sum(
        (w * F.relu((x - m).norm(dim=1) - 0.5) ** 2).sum() / w.sum()
        for (x, w), m in zip(groups, means)
    )
    push = sum(F.relu(3 - (a - b).norm()) ** 2 for a in means for b in means if a is not b)
    count = len(groups)
    return (
        pull / max(count, 1),
        push / max(count * (count - 1), 1),
        sum(m.norm() for m in means) / max(count, 1),
    )


def cosine(tags, group, image, weight, one):
    groups = points_of(tags, group, image, weight, one)
    pull = push = 0.0
    for i, (x, w) in enumerate(groups):
        axis = mean(x, w)
        pull += 1 - (w * F.cosine_similarity(axis[None], x)).sum() / w.sum()
        others = [other for j, other in enumerate(groups) if j != i]
        if others:
            away = [F.cosine_similarity(axis[None], y) ** 2 * v for y, v in others]
            push += sum(a.sum() for a in away) / sum(v.sum() for _, v in others)
    return pull / max(len(groups), 1), push / max(len(groups), 1)


def contrastive(tags, group, image, weight, one):
    used = (image == one) & (group >= 0) & (weight > 0)
    unit, owner, weight = F.normalize(tags[used], dim=1), group[used].tolist(), weight[used]
    total, mass = 0.0, 0.0
    for i in range(len(unit)):
        near = [j for j in range(len(unit)) if j != i]
        same = [j for j in near if owner[j] == owner[i]]
        if same:
            norm = sum(torch.exp(unit[i] @ unit[j] / 0.1) for j in near)
            logs = [torch.log(torch.exp(unit[i] @ unit[j] / 0.1) / norm) for j in same]
            total -= weight[i] * sum(logs) / len(same)
            mass += weight[i]
    return (total / mass if mass else 0.0,)


def lovasz_hinge(logits, truth):
    """Berman et al. 2018, as a sum over the steps of the sorted errors."""
    errors = 1 - logits * (2 * truth - 1)
    order = sorted(range(len(errors)), key=lambda i: -float(errors[i].detach()))
    total, last = 0.0, 0.0
    for step in range(len(order)):
        wrong = set(order[: step + 1])
        right = sum(1 for i in range(len(truth)) if truth[i] and i not in wrong)
        union = int(truth.sum()) + sum(1 for i in wrong if not truth[i])
        total += F.relu(errors[order[step]]) * (1 - right / union - last)
        last = 1 - right / union
    return total


def spatial(tags, group, image, weight, one):
    width = width_of(tags)
    used = (image == one) & (group >= 0) & (weight > 0)
    ids, overlap, smooth = group[used].unique().tolist(), 0.0, 0.0
    for g in ids:
        own = used & (group == g)
        centre, b = mean(tags[own], weight[own]), (width[own] * weight[own]).sum()
        b = b / weight[own].sum()
        close = 2 ** (-((tags[used] - centre) ** 2).sum(1) / b**2)
        overlap += lovasz_hinge(2 * close - 1, (group[used] == g).long())
        smooth += (weight[own] * (width[own] - b) ** 2).sum() / weight[own].sum()
    return overlap / max(len(ids), 1), smooth / max(len(ids), 1)


SLOW = {f.__name__: f for f in (discriminative, cosine, contrastive, spatial)}


def terms(name, *points, **how):
    found = LOSSES[name](*points, **how)
    return found if isinstance(found, tuple) else (found,)


def total_gradient(values, tags):
    return torch.autograd.grad(sum((i + 1) * v.sum() for i, v in enumerate(values)), tags)[0]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(4))
def test_values_and_gradients_follow_the_formula(name, seed):
    tags, group, image, _, weight = scene(seed, dim=3)
    tags.requires_grad_()
    found = terms(name, tags, group, image, weight=weight, batch=4, images="none")
    expected = [SLOW[name](tags, group, image, weight, one) for one in range(4)]
    stacked = [torch.stack([torch.as_tensor(v) for v in column]) for column in zip(*expected)]
    for value, other in zip(found, stacked, strict=True):
        torch.testing.assert_close(value, other.to(value))
    torch.testing.assert_close(total_gradient(found, tags), total_gradient(stacked, tags))


@pytest.mark.parametrize("name", LOSSES)
def test_order_ids_and_ignored_points_do_not_matter(name):
    tags, group, image, *_ = scene(1)
    group = group.where(group >= 0, -1)
    order = torch.randperm(len(tags), generator=torch.Generator().manual_seed(3))
    nothing = torch.full((2, tags.shape[1]), torch.nan, dtype=tags.dtype)
    more = (
        torch.cat([tags[order], nothing]),
        torch.cat([group[order] * 5 + 2, torch.tensor([-1, 4])]),
        torch.cat([image[order], torch.tensor([0, -1])]),
    )
    more = (more[0], torch.where(more[1] < 0, -7, more[1]), more[2])
    if name == "spatial":  # its bandwidth in this test comes from the tags
        more = tuple(x[:-2] for x in more)
    expected = terms(name, tags, group, image)
    for value, other in zip(terms(name, *more), expected, strict=True):
        torch.testing.assert_close(value, other)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("count", [0, 1])
def test_few_points_give_finite_losses_with_a_graph(name, count):
    tags = torch.zeros(count, 2, requires_grad=True)
    ids = torch.zeros(count, dtype=torch.long)
    for batch in (None, 2):
        values = terms(name, tags, ids, ids, batch=batch)
        assert all(torch.isfinite(value) for value in values)
        assert torch.isfinite(total_gradient(values, tags)).all()


@pytest.mark.parametrize("name", LOSSES)
def test_compiles_to_one_graph(name):
    torch._dynamo.reset()
    fast = torch.compile(
        lambda *points: terms(name, *points, batch=3), fullgraph=True, backend="aot_eager"
    )
    for seed, people in ((0, 5), (1, 9), (2, 0)):
        tags, group, image, *_ = scene(seed, people=max(people, 1))
        group = group if people else -group.abs() - 1
        tags.requires_grad_()
        found, expected = fast(tags, group, image), terms(name, tags, group, image, batch=3)
        for value, other in zip(found, expected, strict=True):
            torch.testing.assert_close(value, other)
        torch.testing.assert_close(total_gradient(found, tags), total_gradient(expected, tags))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32(name):
    tags, group, image, *_ = scene(0)
    found = terms(name, tags.bfloat16(), group, image)
    expected = terms(name, tags.bfloat16().float(), group, image)
    for value, other in zip(found, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, other)


@pytest.mark.parametrize("name", LOSSES)
def test_mismatched_shapes_name_both(name):
    tags, ids = torch.zeros(3, 2), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"\(2,\).*\(3, 2\)|\(3, 2\).*\(2,\)"):
        terms(name, tags, ids, torch.zeros(3, dtype=torch.long))


def test_blocks_of_contrastive_do_not_change_it(monkeypatch):
    tags, group, image, *_ = scene(5, points=60)
    tags.requires_grad_()
    whole = losses.contrastive(tags, group, image)
    gradient = torch.autograd.grad(whole, tags)[0]
    monkeypatch.setattr("tagwise.losses.supervised_contrastive._BLOCK", 50)
    parts = losses.contrastive(tags, group, image)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts, tags)[0], gradient)


def test_background_of_spatial_is_covered_by_no_group():
    tags, image = torch.tensor([[0.0], [0.2], [0.1]]), torch.zeros(3, dtype=torch.long)
    bandwidth = torch.ones(3)
    group = torch.tensor([4, 4, 0])
    without = losses.spatial(tags, torch.tensor([4, 4, -1]), image, bandwidth=bandwidth)
    found = losses.spatial(tags, group, image, bandwidth=bandwidth, background=0)
    assert found.overlap > without.overlap
    assert found.closeness[2] == 0
    near = 2.0 ** -(0.1**2)
    torch.testing.assert_close(found.closeness[:2], torch.tensor([near, near]))
    # The background point is at the mean: its error is 2, that of each of the others 2 - 2 near.
    expected = 2 * (1 - 2 / 3) + (2 - 2 * near) * (2 / 3)
    torch.testing.assert_close(found.overlap, torch.tensor(expected))


def test_spatial_bandwidth_is_what_group_by_seed_reads():
    """A point at the bandwidth has the closeness 1/2; seeds cover the points within it."""
    from tagwise.losses.spatial_embeddings import closeness_to

    half = closeness_to(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.tensor([5.0]))
    torch.testing.assert_close(half, torch.tensor([0.5]))
    assert math.isclose(5 / math.sqrt(2 * math.log(2)), 4.2466, rel_tol=1e-4)  # sigma of the paper


@pytest.mark.parametrize("name", LOSSES)
def test_training_free_tags_separates_groups(name):
    """Adam moves the tags themselves; then `group_by_seed` finds the groups."""
    from tagwise import grouping

    torch.manual_seed(0)
    group, image = torch.arange(40) % 4, torch.zeros(40, dtype=torch.long)
    tags = torch.randn(40, 4, requires_grad=True)
    width = torch.ones(40)
    optimizer = torch.optim.Adam([tags], 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        if name == "spatial":
            values = losses.spatial(tags, group, image, bandwidth=width)[:2]
        else:
            values = terms(name, tags, group, image)
        sum(values[:2]).backward()
        optimizer.step()
    read = F.normalize(tags, dim=1) if name in ("cosine", "contrastive") else tags
    bandwidth = {"discriminative": 1.5, "spatial": 1.0}.get(name, 0.7)
    found = grouping.group_by_seed(read.detach(), bandwidth=bandwidth).group
    pairs = {(int(a), int(b)) for a, b in zip(found, group)}
    assert len(pairs) == 4
    assert -1 not in found
