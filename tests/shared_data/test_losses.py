"""Losses and gradients against stored numbers of the published code."""

import pytest
import torch

from tag_losses import gradients
from tagwise import losses
from tagwise.losses import PRESETS, pull_push


def pose_points(tags, joints):
    """(B, K, H, W) maps and (B, N, K, 2) joints [k*H*W + y*W + x, present] as points."""
    batch, people, _, _ = joints.shape
    number = torch.arange(people)[None, :, None]
    group = torch.where(joints[..., 1] > 0, number, -1).reshape(-1)
    image = torch.arange(batch)[:, None, None].expand(joints.shape[:3]).reshape(-1)
    values = tags.reshape(batch, -1).gather(1, joints[..., 0].reshape(batch, -1).long())
    return values.reshape(-1, 1), group, image


def archive(golden, name):
    """Stored arrays as tensors, by name."""
    arrays = golden.archive(f"losses/{name}")
    return lambda key: torch.from_numpy(arrays[key].copy())


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("higherhrnet_exp", PRESETS["higherhrnet"]),
        ("higherhrnet_max", {**PRESETS["higherhrnet"], "push": "hinge"}),
        ("poseae", PRESETS["newell2017"]),
    ],
)
def test_pose_presets_equal_the_published_code(golden, name, how):
    data = archive(golden, "pose_losses")
    tags = data("tags").requires_grad_()
    points = pose_points(tags, data("joints"))
    loss = pull_push(*points, batch=len(tags), **{**how, "images": "none"})
    for term, value, grad in zip(("pull", "push"), loss, gradients(loss, tags)):
        golden.assert_close(f"losses/pose_losses:{name}_{term}", value.detach())
        golden.assert_close(f"losses/pose_losses:{name}_{term}_grad", grad)


def test_newell_preset_groups_tags_of_two_dimensions(golden):
    data = archive(golden, "pose_losses")
    tags = data("poseae_dim2_tags").requires_grad_()
    _, group, image = pose_points(tags[:, :1], data("poseae_dim2_joints")[None])
    values = tags[data("poseae_dim2_joints")[..., 0].reshape(-1).long()]
    loss = losses.AELoss("newell2017")(values, group, image)
    for term, value, grad in zip(("pull", "push"), loss, gradients(loss, tags)):
        golden.assert_close(f"losses/pose_losses:poseae_dim2_{term}", value.detach())
        golden.assert_close(f"losses/pose_losses:poseae_dim2_{term}_grad", grad)


def corner_points(tl, br, mask):
    """Two (B, N, 1) corner tags of N objects as points."""
    number = torch.arange(mask.shape[1]).expand(mask.shape)
    group = torch.where(mask > 0, number, -1).reshape(-1)
    image = torch.arange(len(mask))[:, None].expand(mask.shape).reshape(-1)
    return torch.cat([tl.reshape(-1, 1), br.reshape(-1, 1)]), group.repeat(2), image.repeat(2)


@pytest.mark.parametrize("case", ["batch4", *(f"n{n}_plus_empty" for n in (0, 1, 5, 16))])
def test_cornernet_preset_equals_the_published_code(golden, case):
    data = archive(golden, "corner_losses")
    mask = data("ae_mask").bool()
    rows = [0, 1, 2, 3]
    if case != "batch4":
        count = int(case.split("_")[0][1:])
        rows = [mask.sum(1).tolist().index(count), mask.sum(1).tolist().index(0)]
    tl, br = (data(f"ae_{corner}")[rows].requires_grad_() for corner in ("tl", "br"))
    loss = losses.AELoss("cornernet")(*corner_points(tl, br, mask[rows]))
    for term, value in zip(("pull", "push"), loss):
        golden.assert_close(f"losses/corner_losses:ae_{case}_{term}", value.detach())
        for corner, grad in zip(
            ("tl", "br"), torch.autograd.grad(value, (tl, br), retain_graph=True)
        ):
            golden.assert_close(f"losses/corner_losses:ae_{case}_{term}_grad_{corner}", grad)


def test_losses_and_gradients_of_a_pose_step_match(golden):
    """Two stages of heatmaps, tags on the first: HigherHRNet's training loss."""
    data = archive(golden, "pose_losses")
    outputs = [data(f"full_out{i}").requires_grad_() for i in (0, 1)]
    stages = [
        losses.heatmap_mse(
            out[:, :17], data(f"full_heat{i}"), data(f"full_mask{i}")[:, None], images="none"
        )
        for i, out in enumerate(outputs)
    ]
    points = pose_points(outputs[0][:, 17:], data("full_joints"))
    loss = pull_push(*points, batch=2, **{**PRESETS["higherhrnet"], "images": "none"})
    golden.assert_close("losses/pose_losses:full_heat_loss", torch.stack(stages).detach())
    for name, term in zip(("pull", "push"), loss):
        golden.assert_close(f"losses/pose_losses:full_{name}", 1e-3 * term.detach())
    total = sum(stages).mean() + 1e-3 * sum(loss).mean()
    golden.assert_close("losses/pose_losses:full_total", total.detach())
    for i, grad in enumerate(torch.autograd.grad(total, outputs)):
        golden.assert_close(f"losses/pose_losses:full_grad{i}", grad)


def test_losses_and_gradients_of_a_corner_step_match(golden):
    """Two stacks of heat, tags and offsets for both corners: CornerNet's training loss."""
    data = archive(golden, "corner_losses")
    outputs = [data(f"full_out{i}").requires_grad_() for i in range(12)]
    total = 0
    for tl_heat, br_heat, tl_tag, br_tag, tl_off, br_off in (outputs[:6], outputs[6:]):
        ae = losses.AELoss("cornernet")(*corner_points(tl_tag, br_tag, data("full_mask")))
        total = total + 0.1 * (ae.pull + ae.push)
        for side, heat, off in (("tl", tl_heat, tl_off), ("br", br_heat, br_off)):
            total = total + losses.focal(heat, data(f"full_gt_{side}"))
            total = total + losses.offset_l1(off, data(f"full_gt_off_{side}"), data("full_mask"))
    golden.assert_close("losses/corner_losses:full_loss", (total / 2).detach())
    for i, grad in enumerate(torch.autograd.grad(total / 2, outputs)):
        golden.assert_close(f"losses/corner_losses:full_grad{i}", grad)


def test_heatmap_loss_matches(golden):
    data = archive(golden, "pose_losses")
    pred = data("mse_pred").requires_grad_()
    loss = losses.heatmap_mse(pred, data("mse_gt"), data("mse_mask")[:, None], images="none")
    golden.assert_close("losses/pose_losses:mse_loss", loss.detach())
    golden.assert_close("losses/pose_losses:mse_grad", torch.autograd.grad(loss.sum(), pred)[0])


@pytest.mark.parametrize("case", ["focal", "focal_nopos"])
def test_focal_loss_matches(golden, case):
    data = archive(golden, "corner_losses")
    logits = [data(f"{case}_logits{i}").requires_grad_() for i in (0, 1)]
    stacks = [losses.focal(x, data(f"{case}_gt")) for x in logits]
    golden.assert_close(f"losses/corner_losses:{case}_loss_stack0", stacks[0].detach())
    golden.assert_close(f"losses/corner_losses:{case}_loss", sum(stacks).detach())
    for i, grad in enumerate(torch.autograd.grad(sum(stacks), logits)):
        golden.assert_close(f"losses/corner_losses:{case}_grad{i}", grad)


@pytest.mark.parametrize("case", ["regr", "regr_empty"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32])
def test_offset_loss_matches(golden, case, dtype):
    data = archive(golden, "corner_losses")
    pred = data(f"{case}_pred").requires_grad_()
    loss = losses.offset_l1(pred, data(f"{case}_gt"), data(f"{case}_mask").to(dtype))
    golden.assert_close(f"losses/corner_losses:{case}_loss", loss.detach())
    golden.assert_close(f"losses/corner_losses:{case}_grad", torch.autograd.grad(loss, pred)[0])
