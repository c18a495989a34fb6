"""Pull and push against a slow reference, and invariants."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tag_losses import assert_same, gradients, scene
from tagwise import losses
from tagwise.losses import PRESETS, pull_push, pull_push_dense

# ------------------------------------------------------------------ the slow reference


def slow_pull_push(
    tags, group, image, cls=None, weight=None, batch=None, push="exp", sigma=1.0, margin=1.0,
    scope="image", points="mean", dims="sum", groups="mean", pairs="square", self_pairs="drop",
    push_scale=1.0, eps=0.0, place=None, near=None,
):  # fmt: skip
    """Loops over images, groups and pairs; a pull and a push for each image."""
    ids = range(batch) if batch is not None else sorted({int(i) for i in image if i >= 0})
    weight = torch.ones(len(tags)) if weight is None else weight
    pulls, pushes = [], []
    for i in ids:
        means, classes, places, pull = [], [], [], tags.sum() * 0
        here = (image == i) & (group >= 0) & (weight > 0)
        for g in sorted(set(group[here].tolist())):
            member = here & (group == g)
            own, w = tags[member], weight[member].to(tags)[:, None]
            means.append((own * w).sum(0) / w.sum())
            places.append(None if place is None else place[member])
            classes.append(0 if cls is None or scope == "image" else int(cls[member][0]))
            square = (own - means[-1]) ** 2 * w
            square = square.sum(1) if dims == "sum" else square.mean(1)
            pull = pull + (square.sum() / w.sum() if points == "mean" else square.sum())
        n = len(means)
        pulls.append(pull / (n + eps or 1) if groups == "mean" else pull)
        apart, distinct, every = tags.sum() * 0, 0, 0
        for a in range(n):
            for b in range(n):
                if a != b and near is not None and gap(places[a], places[b]) > near:
                    continue
                every += classes[a] == classes[b]
                if a == b and self_pairs == "keep":
                    apart = apart + (1 if push == "exp" else margin)
                if a == b or classes[a] != classes[b]:
                    continue
                distinct += 1
                square = ((means[a] - means[b]) ** 2).sum()
                if push == "exp":
                    apart = apart + torch.exp(-square / (2 * sigma**2))
                elif square < margin**2:
                    apart = apart + margin - square.sqrt()
        count = {"square": every + eps, "distinct": distinct + eps, "sum": 1}[pairs]
        pushes.append(apart / (count or 1) * push_scale)
    return torch.stack(pulls), torch.stack(pushes)


def gap(one, other):
    """The distance between the bounding boxes of two sets of points."""
    square = 0
    for x, y in zip(one.T, other.T):
        square += max(0, x.min() - y.max(), y.min() - x.max()) ** 2
    return square**0.5


SETTINGS = st.fixed_dictionaries(
    {
        "push": st.sampled_from(["exp", "hinge"]),
        "sigma": st.sampled_from([0.5, 1.0, 2.0]),
        "margin": st.sampled_from([0.5, 1.0, 3.0]),
        "scope": st.sampled_from(["image", "class"]),
        "points": st.sampled_from(["mean", "sum"]),
        "dims": st.sampled_from(["mean", "sum"]),
        "groups": st.sampled_from(["mean", "sum"]),
        "pairs": st.sampled_from(["square", "distinct", "sum"]),
        "self_pairs": st.sampled_from(["drop", "keep"]),
        "push_scale": st.sampled_from([1.0, 0.5]),
        "eps": st.sampled_from([0.0, 1e-3]),
    }
)
SEEDS = st.integers(0, 2**32)
SIZES = st.integers(0, 40)


@given(SEEDS, SIZES, st.integers(1, 4), st.integers(1, 3), SETTINGS, st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_equals_the_slow_reference(seed, points, images, dim, how, weighted, counted):
    tags, group, image, cls, weight = scene(seed, points, images, dim=dim)
    tags.requires_grad_()
    given = {
        "cls": cls,
        "weight": weight if weighted else None,
        "batch": images + 1 if counted or not points else None,
    }
    loss = pull_push(tags, group, image, **given, images="none", **how)
    expected = slow_pull_push(tags, group, image, **given, **how)
    assert_same(loss, expected)
    for mine, other in zip(gradients(loss, tags), gradients(expected, tags)):
        torch.testing.assert_close(mine, other)


def test_default_equals_equation_1_averaged_over_images():
    """Newell et al. 2017, Eq. 1, written as in the paper; its self-pairs are the constant 1/N."""
    people, keypoints = 4, 5
    tags = torch.randn(2, people, keypoints, dtype=torch.float64)
    mean = tags.mean(2)
    pull = (tags - mean[..., None]).square().sum((1, 2)) / (people * keypoints)
    push = torch.exp(-(mean[:, :, None] - mean[:, None]).square() / 2).sum((1, 2)) / people**2
    group = torch.arange(people)[None, :, None].expand_as(tags).reshape(-1)
    image = torch.arange(2)[:, None, None].expand_as(tags).reshape(-1)
    loss = pull_push(tags.reshape(-1, 1), group, image)
    assert_same(loss, (pull.mean(), push.mean() - 1 / people))
    literal = pull_push(tags.reshape(-1, 1), group, image, self_pairs="keep")
    assert_same(literal, (pull.mean(), push.mean()))


def test_reductions_over_images_match_their_formulas():
    tags, group, image, *_ = scene(5)
    each = pull_push(tags, group, image, batch=6, images="none")
    assert each.pull.shape == (6,)
    assert (each.push[3:] == 0).all()
    assert_same(pull_push(tags, group, image, batch=6), [x.mean() for x in each])
    assert_same(pull_push(tags, group, image, batch=6, images="sum"), [x.sum() for x in each])
    # without `batch`, images are the distinct ids
    known = pull_push(tags, group, image * 1000 + 17, images="none")
    assert_same(known, [x[:3] for x in each])


# ------------------------------------------------------------------ invariants


@given(SEEDS, SIZES, SETTINGS)
@settings(max_examples=25, deadline=None)
def test_loss_is_invariant_to_order_ids_and_tag_shift(seed, points, how):
    tags, group, image, cls, weight = scene(seed, points)
    loss = pull_push(tags, group, image, cls=cls, weight=weight, **how)
    order = torch.randperm(points, generator=torch.Generator().manual_seed(seed))
    moved = pull_push(
        tags[order] + torch.tensor([3.0, -8.0]),
        torch.where(group >= 0, 10**12 - group, -5)[order],
        image[order] + 4,
        cls=-cls[order],
        weight=weight[order],
        **how,
    )
    assert_same(moved, loss)


@given(SEEDS, SIZES)
@settings(max_examples=25, deadline=None)
def test_integer_weight_equals_repeated_points(seed, points):
    tags, group, image, _, weight = scene(seed, points)
    times = (weight * 2).long()
    repeated = [x.repeat_interleave(times, 0) for x in (tags, group, image)]
    for points_how in ("mean", "sum"):
        how = {"batch": 3, "points": points_how}
        assert_same(pull_push(tags, group, image, weight=times, **how), pull_push(*repeated, **how))


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_images_are_independent(seed):
    tags, group, image, *_ = scene(seed)
    together = pull_push(tags, group, image, batch=3, images="none")
    for i in range(3):
        alone = pull_push(*(x[image == i] for x in (tags, group, image)), batch=3, images="none")
        assert_same([x[i] for x in together], [x[i] for x in alone])


@pytest.mark.parametrize("name", [None, *PRESETS])
@pytest.mark.parametrize("dim", [1, 3])
def test_gradients_are_correct(name, dim):
    tags, group, image, *_ = scene(3, 24, dim=dim)
    loss = losses.AELoss(name)
    assert torch.autograd.gradcheck(lambda t: sum(loss(t, group, image)), tags.requires_grad_())


def test_second_gradients_are_correct():
    tags, group, image, *_ = scene(3, 12)
    tags.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda t: sum(pull_push(t, group, image)), tags)


def test_class_scope_pushes_within_a_class():
    tags = torch.zeros(3, 1)
    group, image, cls = torch.arange(3), torch.zeros(3).long(), torch.tensor([0, 0, 9])
    loss = pull_push(tags, group, image, cls=cls, scope="class", pairs="distinct")
    assert float(loss.push) == 1  # the two ordered pairs of class 0, divided by 2
    loss = pull_push(tags, group, image, cls=cls, scope="class")
    assert float(loss.push) == pytest.approx(2 / 5)  # over 2^2 + 1^2
    assert float(pull_push(tags, group, image, cls=cls, pairs="sum").push) == 6


# ------------------------------------------------------------------ nearness


@given(SEEDS, st.integers(1, 3), st.floats(0, 20), SETTINGS)
@settings(deadline=None, max_examples=60)
def test_only_near_groups_push(seed, axes, near, how):
    tags, group, image, cls, weight = scene(seed, points=60, people=9)
    draw = torch.Generator().manual_seed(seed)
    home = 20 * torch.rand(10, axes, generator=draw)  # so that some groups are near, some far
    place = home[group % 10] + 3 * torch.rand(len(tags), axes, generator=draw)
    more = {"cls": cls, "weight": weight, "batch": 3, "place": place, "near": near, **how}
    expected = slow_pull_push(tags, group, image, **more)
    assert_same(pull_push(tags, group, image, images="none", **more), expected)


def test_nearness_in_a_label_map_is_measured_in_cells():
    labels = torch.zeros(1, 4, 12, dtype=torch.long)
    labels[0, 0, 0], labels[0, 3, 4], labels[0, 3, 11] = 1, 2, 3  # 5 apart, and 7
    tags = torch.zeros(1, 1, 4, 12)
    for near, pairs in ((4.9, 0), (5, 1), (6.9, 1), (7, 2), (99, 3)):
        loss = pull_push_dense(tags, labels, background=0, near=near, pairs="sum")
        assert loss.push == 2 * pairs  # exp(0) for each ordered pair


def test_hundreds_of_instances_need_little_memory():
    labels = torch.arange(400).view(1, 20, 20).repeat_interleave(8, 1).repeat_interleave(8, 2)
    tags = torch.randn(1, 2, 160, 160, requires_grad=True)
    with torch.profiler.profile(profile_memory=True) as profile:
        pull_push_dense(tags, labels, near=8.0).push.backward()
    most = max(event.self_cpu_memory_usage for event in profile.events())
    assert most <= 4 * 8 * 400 * 399 / 2  # a few numbers per pair, not pixels times instances


def test_place_and_near_need_each_other():
    tags, ids = torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="both or neither"):
        pull_push(tags, ids, ids, near=3.0)
    with pytest.raises(ValueError, match=r"place must be \(P, A\)"):
        pull_push(tags, ids, ids, near=3.0, place=torch.zeros(2, 2))


# ------------------------------------------------------------------ edge cases


@pytest.mark.parametrize("push", ["exp", "hinge"])
@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("points", [0, 5])
def test_empty_input_is_zero_with_a_graph(points, batch, push):
    tags = torch.full((points, 2), float("nan"), requires_grad=True)
    ignored = torch.full((points,), -1)
    loss = pull_push(tags, ignored, torch.zeros(points).long(), batch=batch, push=push)
    assert loss == (0, 0)
    sum(loss).backward()
    assert (tags.grad == 0).all()


@pytest.mark.parametrize("how", [{}, PRESETS["newell2017"], PRESETS["higherhrnet"]])
def test_one_group_is_not_pushed(how):
    tags = torch.tensor([[1.0], [3.0]], requires_grad=True)
    loss = pull_push(tags, torch.tensor([5, 5]), torch.tensor([0, 0]), **how)
    assert float(loss.push.detach()) == 0
    assert float(loss.pull.detach()) == pytest.approx(1)
    sum(loss).backward()
    torch.testing.assert_close(tags.grad, torch.tensor([[-1.0], [1.0]]))


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("name", PRESETS)
def test_equal_tags_have_finite_gradients(name, dim):
    tags = torch.zeros(6, dim, requires_grad=True)
    loss = losses.AELoss(name)(tags, torch.tensor([0, 0, 1, 1, 2, 2]), torch.zeros(6).long())
    sum(loss).backward()
    assert (tags.grad == 0).all()


def test_ignored_points_can_be_nan():
    tags = torch.tensor([[0.0], [2.0], [float("nan")], [float("inf")], [float("nan")]])
    group = torch.tensor([0, 0, -1, -9, 0])
    image = torch.tensor([0, 0, 0, 0, -1])
    tags.requires_grad_()
    loss = pull_push(tags, group, image)
    assert float(loss.pull.detach()) == 1
    sum(loss).backward()
    assert tags.grad.squeeze().tolist() == [-1, 1, 0, 0, 0]
    masked = pull_push(tags, group.clamp(min=0), image.abs() * 0, weight=torch.arange(5) < 2)
    assert float(masked.pull.detach()) == 1


def test_images_with_few_and_many_groups_need_little_memory():
    """2,000 groups in one image and one in each of 500: padding all to the fullest would need
    8 GB. Equal tags give every pair a force of 1."""
    many = 2000
    group = torch.cat([torch.arange(many), torch.zeros(500).long()])
    image = torch.cat([torch.zeros(many).long(), torch.arange(1, 501)])
    loss = pull_push(torch.zeros(len(group), 1), group, image, images="none")
    assert loss.push.shape == (501,)
    assert float(loss.push[0]) == pytest.approx(1 - 1 / many)
    assert (loss.push[1:] == 0).all()


@pytest.mark.parametrize("ids", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_ids_can_be_any_integers(ids):
    tags, group, image, *_ = scene(1)
    small = torch.where(group >= 0, group % 100, 0)
    expected = pull_push(tags, small, image)
    assert_same(pull_push(tags, small.to(ids), image.to(ids)), expected)


def test_huge_ids_do_not_collide():
    top = 2**63 - 1
    group = torch.tensor([0, top, top - 1, 0, top])
    image = torch.tensor([top, top, 0, 0, 0])
    tags = torch.tensor([[0.0], [1.0], [2.0], [3.0], [5.0]])
    expected = pull_push(tags, torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 0, 0]))
    assert_same(pull_push(tags, group, image), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    tags, group, image, *_ = scene(2)
    half = (tags * 200).to(dtype).requires_grad_()  # squares beyond float16's range
    full = half.detach().float().requires_grad_()
    loss, expected = pull_push(half, group, image), pull_push(full, group, image)
    assert loss.pull.dtype == loss.push.dtype == torch.float32
    assert_same(loss, expected, rtol=0, atol=0)
    sum(loss).backward()
    sum(expected).backward()
    assert half.grad.dtype == dtype
    torch.testing.assert_close(half.grad, full.grad.to(dtype))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": torch.zeros(4).long()}, r"group.*\(4,\).*\(3, 2\)"),
        ({"image": torch.zeros(3, 1).long()}, r"image.*\(3, 1\).*\(3, 2\)"),
        ({"weight": torch.ones(2)}, r"weight.*\(2,\).*\(3, 2\)"),
        ({"cls": torch.ones(2).long()}, r"cls.*\(2,\).*\(3, 2\)"),
        ({"tags": torch.zeros(3)}, r"tags must be \(P, D\).*\(3,\)"),
        ({"tags": torch.zeros(3, 2).long()}, "tags must be floating point, got torch.int64"),
        ({"group": torch.zeros(3)}, "group must be integer, got torch.float32"),
        ({"group": torch.ones(3).bool()}, "group must be integer, got torch.bool"),
        ({"image": torch.tensor([0, 1, 2]), "batch": 2}, "image has the id 2, but batch is 2"),
        ({"push": "exq"}, "push must be one of 'exp', 'hinge'; got 'exq'"),
        ({"scope": "class"}, "needs cls"),
        ({"scope": "class", "cls": torch.arange(3)}, "cls differs between points of one group"),
    ],
)
def test_mismatched_input_is_refused(change, message):
    given = {"tags": torch.zeros(3, 2), "group": torch.zeros(3).long()}
    given["image"] = torch.zeros(3).long()
    with pytest.raises(ValueError, match=message):
        pull_push(**{**given, **change})


@pytest.mark.parametrize("weighted", [False, True])
def test_groups_found_ahead_give_the_same_loss(weighted):
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(-1, 6, (200,), generator=generator)
    image = torch.randint(-1, 4, (200,), generator=generator)
    weight = torch.rand(200, generator=generator).round(decimals=0) if weighted else None
    tags = torch.randn(200, 2, generator=generator)
    used = None if weight is None else weight > 0
    layout = losses.layout_groups(group, image, used=used, batch=5)
    options = {"weight": weight, "batch": 5, "images": "none"}
    expected = losses.pull_push(tags, group, image, **options)
    found = losses.pull_push(tags, group, image, layout=layout, **options)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
