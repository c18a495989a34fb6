"""The presets of the losses against sums written out term by term, values and gradients."""

import pytest
import torch

from slow import losses as slow
from tagwise import losses

PEOPLE = [0, 1, 2, 5]
FAMILIES = {
    "newell2017": ("newell2017", {}, {"push": "exp", "eps": 1e-6}),
    "higherhrnet": ("higherhrnet", {}, {"push": "exp"}),
    "higherhrnet, hinge": ("higherhrnet", {"push": "hinge"}, {"push": "max"}),
}


def random(seed):
    return torch.Generator().manual_seed(seed)


def both(agree, case, found, expected, *leaves):
    """Compares a loss and its gradient with respect to each leaf."""
    agree(f"losses: {case}", found.detach(), expected.detach(), atol=1e-10, rtol=1e-10)
    for leaf in leaves:
        ours, theirs = (
            torch.autograd.grad(x, leaf, retain_graph=True)[0] for x in (found, expected)
        )
        agree(f"losses: {case}, gradient", ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("people", PEOPLE)
@pytest.mark.parametrize("family", FAMILIES)
def test_tag_losses_of_poses_match(agree, family, people, dim):
    preset, changes, slow_changes = FAMILIES[family]
    draw = random(10 * people + dim)
    tags = torch.randn(40, dim, generator=draw, dtype=torch.float64, requires_grad=True)
    # Cells may serve several people; some people have one visible keypoint, one has none.
    joints = [torch.randint(0, 40, (n % 5,), generator=draw).tolist() for n in range(1, people + 1)]
    cells = torch.tensor([cell for person in joints for cell in person], dtype=torch.long)
    group = torch.tensor([n for n, person in enumerate(joints) for _ in person], dtype=torch.long)
    how = {**losses.PRESETS[preset], **changes}
    found = losses.pull_push(tags[cells], group, torch.zeros_like(group), batch=1, **how)
    expected = slow.pose_tags(tags, joints, **slow_changes)
    both(agree, f"{family}, pull", found.pull, expected[0], tags)
    both(agree, f"{family}, push", found.push, expected[1], tags)


@pytest.mark.parametrize("counts", [[0], [1], [0, 0], [1, 0], [2, 1, 0], [6, 3], [6, 6]])
def test_tag_losses_of_corners_match(agree, counts):
    draw = random(len(counts))
    tl, br = torch.randn(2, len(counts), 6, generator=draw, dtype=torch.float64)
    tl, br = tl.requires_grad_(), br.requires_grad_()
    there = torch.arange(6) < torch.tensor(counts)[:, None]
    image, group = there.nonzero(as_tuple=True)
    tags = torch.cat([tl[there], br[there]])[:, None]
    loss = losses.AELoss("cornernet")(tags, group.repeat(2), image.repeat(2))
    expected = slow.corner_tags(tl, br, counts)
    both(agree, "cornernet, pull", loss.pull, expected[0], tl, br)
    both(agree, "cornernet, push", loss.push, expected[1], tl, br)


@pytest.mark.parametrize("positives", [0, 1, 9])
def test_focal_loss_matches(agree, positives):
    draw = random(positives)
    logits = 5 * torch.randn(2, 2, 4, 5, generator=draw, dtype=torch.float64)
    # Sure ones reach the limits of the probabilities, beyond which nothing is learned.
    logits[0, 0, 0] = torch.tensor([-12.0, 12.0, -9.3, 9.1, 0.0])
    logits.requires_grad_()
    target = 0.99 * torch.rand(2, 2, 4, 5, generator=draw, dtype=torch.float64)
    target.view(-1)[torch.randperm(80, generator=draw)[:positives]] = 1
    both(agree, "focal", losses.focal(logits, target), slow.focal(logits, target), logits)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float64])
@pytest.mark.parametrize("there", [[], [0, 0], [1], [1, 0, 1, 1, 0]])
def test_offset_loss_matches(agree, there, dtype):
    draw = random(len(there))
    pred = 2 * torch.randn(len(there), 2, generator=draw, dtype=torch.float64)
    pred.requires_grad_()
    target = torch.rand(len(there), 2, generator=draw, dtype=torch.float64)
    found = losses.offset_l1(pred, target, torch.tensor(there, dtype=dtype))
    both(agree, "offsets", found, slow.offsets(pred, target, there), pred)


def test_heatmap_loss_matches(agree):
    pred, target = torch.rand(2, 2, 3, 4, 5, generator=random(0), dtype=torch.float64)
    mask = (torch.rand(2, 4, 5, generator=random(1)) > 0.3).double()
    mask[1] = 0
    pred.requires_grad_()
    found = losses.heatmap_mse(pred, target, mask[:, None], images="none")
    for image in (0, 1):
        expected = slow.heatmaps(pred[image], target[image], mask[image])
        both(agree, "heatmaps", found[image], expected, pred)


def test_losses_and_gradients_of_a_pose_step_match(agree):
    """Heatmaps at two stages, tags at the first: HigherHRNet's training loss, mean over images."""
    draw = random(2)
    shapes = (2, 4, 5, 6), (2, 2, 10, 12)
    stages = [
        torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True)
        for shape in shapes
    ]
    wanted = [torch.rand(2, 2, *stage.shape[2:], generator=draw).double() for stage in stages]
    masks = [(torch.rand(2, 1, *s.shape[2:], generator=draw) > 0.3).double() for s in stages]
    people = [[[3, 8], [31], [4, 40, 59]], [[], [7, 45]]]  # cells of the two tag maps
    rows = [(b, n, c) for b, each in enumerate(people) for n, own in enumerate(each) for c in own]
    image, group, cell = torch.tensor(rows).T
    tags = stages[0][:, 2:].reshape(2, -1)
    loss = losses.AELoss("higherhrnet")(tags[image, cell, None], group, image)
    found = 1e-3 * (loss.pull + loss.push)
    for stage, target, mask in zip(stages, wanted, masks):
        found = found + losses.heatmap_mse(stage[:, :2], target, mask)
    expected = 0
    for b in (0, 1):
        for stage, target, mask in zip(stages, wanted, masks):
            expected = expected + slow.heatmaps(stage[b, :2], target[b], mask[b, 0])
        flat = stages[0][b, 2:].reshape(-1, 1)
        expected = expected + 1e-3 * sum(slow.pose_tags(flat, people[b], push="exp"))
    both(agree, "higherhrnet, whole step", found, expected / 2, *stages)


def test_losses_and_gradients_of_a_corner_step_match(agree):
    """Heat, tags and offsets of both corners at two stacks: CornerNet's training loss."""
    draw, count = random(3), torch.tensor([2, 0, 3])
    there = torch.arange(4) < count[:, None]
    image, group = there.nonzero(as_tuple=True)
    goal = {}
    for corner in ("tl", "br"):
        heat = 0.9 * torch.rand(3, 2, 4, 5, generator=draw, dtype=torch.float64)
        heat[0, 1, 2, 3] = heat[2, 0, 1, 1] = 1
        goal[corner] = heat, torch.rand(3, 4, 2, generator=draw, dtype=torch.float64)
    found, expected, leaves = 0, 0, []
    for _ in range(2):
        tags = []
        for corner in ("tl", "br"):
            sizes = ((3, 2, 4, 5), (3, 4), (3, 4, 2))
            heat, tag, off = (
                torch.randn(size, generator=draw, dtype=torch.float64, requires_grad=True)
                for size in sizes
            )
            target, place = goal[corner]
            found = found + losses.focal(heat, target) + losses.offset_l1(off, place, there)
            flat = off.reshape(-1, 2), place.reshape(-1, 2), there.flatten().tolist()
            expected = expected + slow.focal(heat, target) + slow.offsets(*flat)
            leaves += [heat, tag, off]
            tags.append(tag)
        points = torch.cat([tag[there] for tag in tags])[:, None]
        loss = losses.AELoss("cornernet")(points, group.repeat(2), image.repeat(2))
        found = found + 0.1 * (loss.pull + loss.push)
        expected = expected + 0.1 * sum(slow.corner_tags(*tags, count.tolist()))
    both(agree, "cornernet, whole step", found / 2, expected / 2, *leaves)
