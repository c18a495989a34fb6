"""The slow references give the stored numbers of the published code."""

from functools import partial

import numpy as np
import pytest
import torch

from slow import corners, fitting, losses, names, networks, poses, targets, tensors


def tensor(values):
    return torch.from_numpy(np.array(values, np.float64)).requires_grad_()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("higherhrnet_exp", {"push": "exp"}),
        ("higherhrnet_max", {"push": "max"}),
        ("poseae", {"push": "exp", "eps": 1e-6}),
    ],
)
def test_tag_losses_of_poses_match(golden, name, how):
    stored = golden.archive("losses/pose_losses")
    found = np.zeros((2, 8))
    grads = np.zeros((2, *stored["tags"].shape))
    for image, people in enumerate(stored["joints"]):
        tags = tensor(stored["tags"][image].reshape(-1, 1))
        loss = losses.pose_tags(tags, [row[row[:, 1] > 0, 0].tolist() for row in people], **how)
        for term, value in enumerate(loss):
            found[term, image] = value.item()
            (grad,) = torch.autograd.grad(value, tags, retain_graph=True)
            grads[term, image] = grad.reshape(grads.shape[2:])
    for term, values, grad in zip(("pull", "push"), found, grads):
        np.testing.assert_allclose(values, stored[f"{name}_{term}"], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(grad, stored[f"{name}_{term}_grad"], rtol=1e-4, atol=1e-7)


def test_corner_losses_match_the_references(golden):
    stored = golden.archive("losses/corner_losses")
    # The one object of an image gives 1.00017 in float32, .9999 in float64.
    tl, br = (tensor(stored[f"ae_{corner}"][..., 0]).float() for corner in ("tl", "br"))
    counts = [int(row.sum()) for row in stored["ae_mask"]]
    for term, value in zip(("pull", "push"), losses.corner_tags(tl, br, counts)):
        assert value.item() == pytest.approx(stored[f"ae_batch4_{term}"], rel=1e-4)
    for case in ("focal", "focal_nopos"):
        loss = losses.focal(tensor(stored[f"{case}_logits0"]), stored[f"{case}_gt"].copy())
        assert loss.item() == pytest.approx(stored[f"{case}_loss_stack0"], rel=1e-4)
    pred, target, mask = (stored[f"regr_{part}"] for part in ("pred", "gt", "mask"))
    flat = (pred.reshape(-1, 2), target.reshape(-1, 2), mask.reshape(-1))
    loss = losses.offsets(tensor(flat[0]), tensor(flat[1]), flat[2].tolist())
    assert loss.item() == pytest.approx(stored["regr_loss"], rel=1e-4)


@pytest.mark.parametrize("case", ["r64_auto", "r128_one", "r128_empty"])
def test_pose_targets_match(golden, case):
    stored = golden.archive("targets/pose_targets")
    side, sigma = map(int, stored[f"{case}_meta"])
    keypoints = stored[f"{case}_keypoints"]
    maps = targets.pose_heatmaps(keypoints, (side, side), sigma)
    np.testing.assert_allclose(maps, stored[f"{case}_heatmaps"], atol=1e-6)
    for person, row in zip(targets.pose_places(keypoints, (side, side)), stored[f"{case}_joints"]):
        assert [(k * side + y) * side + x for k, y, x in person] == row[row[:, 1] > 0, 0].tolist()


def test_corner_targets_match(golden):
    stored = golden.archive("targets/corner_targets")
    for height, width, least, exact, legacy in stored["radius_table"]:
        assert targets.corner_radius(height, width, least) == pytest.approx(exact, abs=1e-9)
        assert targets.legacy_corner_radius(height, width, least) == pytest.approx(legacy)


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
@pytest.mark.parametrize("scene", ["sep_64_d1_n0", "sep_64_d1_n1", "sep_64_d1_n3", "sep_64_d2_n3"])
def test_people_match(golden, scene, decoder):
    det, tag = golden.pose_scene(scene)
    settings = {"higherhrnet": poses.HIGHERHRNET, "poseae": poses.POSEAE}[decoder]
    for refine, variant in ((False, "adjust"), (True, "adjust_refine")):
        found = poses.decode(det[0], tag[0].swapaxes(0, 1), poses.COCO_ORDER, settings, refine)
        golden.compare_people.__wrapped__(decoder, scene, variant, *found)


def test_boxes_match(golden):
    scene = "small_32x48_c3_n6"
    maps = {k: v[0] if np.ndim(v) else v for k, v in golden.corner_scene(scene).items()}
    for kind in ("tl", "br"):
        maps[f"{kind}_heat"] = 1 / (1 + np.exp(-maps[f"{kind}_heat"]))
    found = corners.decode(maps, maps["K"], 0.5, 1000)
    golden.compare_boxes.__wrapped__(scene, "dets", found)


@pytest.mark.parametrize("method", ["exp", "linear", "hard"])
def test_soft_suppression_matches(golden, method):
    stored = golden.archive("decode/corner_decode")
    for name in golden.corner_cases():
        rows = stored[f"{name}/dets"][:, [0, 1, 2, 3, 4, 7]]
        found = []
        for label in set(rows[:, 5]):
            own = rows[rows[:, 5] == label]
            for n, score in corners.soft_suppression(own, own[:, 4], method):
                found.append([*own[n, :4], score, label])
        golden.compare_boxes.__wrapped__(name, f"soft_{method}", np.reshape(found, (-1, 6)))


def test_sizes_matrices_and_points_match(golden):
    stored = golden.archive("geometry/pose_geometry")
    for row in stored["size_table"]:
        photo, size = (int(row[1]), int(row[0])), (int(row[5]), int(row[6]))
        assert fitting.higherhrnet_size(photo, int(row[2]), row[3], row[4]) == size
        matrix = fitting.higherhrnet_matrix(photo, size)
        np.testing.assert_allclose(matrix.ravel(), row[11:17], atol=1e-4)
    for height, width, scale, side, *matrix in stored["poseae_size_table"]:
        found, found_side = fitting.poseae_matrix((width, height), scale)
        assert found_side == side
        np.testing.assert_allclose(found.ravel(), matrix, atol=1e-4)
    image = golden.golden_inputs.test_image_u8(48, 64, 1)[..., 0]
    height, width, step, _ = stored["warp_48x64_64_meta"]
    size = (int(width), int(height))
    found = fitting.warped(image, fitting.higherhrnet_matrix((64, 48), size), size)
    step = int(step)
    wanted = stored["warp_48x64_64"][..., 0]
    np.testing.assert_allclose(found[::step, ::step], wanted, atol=2)


def test_boxes_in_the_photo_match(golden):
    stored = golden.archive("geometry/corner_geometry")
    for height, width, scale in stored["size_table"][:, :3]:
        case = f"{height:.0f}x{width:.0f}_s{scale:g}"
        rows = []
        for mirrored, dets in enumerate(stored[f"{case}_dets"]):
            dets = dets[dets[:, 4] > -1]
            photo = int(height), int(width)
            boxes = fitting.cornernet_boxes(dets[:, :4], photo, scale, mirrored)
            rows.append(np.c_[boxes, dets[:, 4], dets[:, 7]])
        rows, wanted = np.concatenate(rows), stored[f"{case}_boxes"]
        order = [np.lexsort(np.round(r[:, [0, 1, 5, 4]], 3).T) for r in (rows, wanted)]
        np.testing.assert_allclose(rows[order[0]], wanted[order[1]], atol=5e-4)


LISTED = {
    "higherhrnet_w32_coco": lambda: tensors.higherhrnet(32, 17),
    "higherhrnet_w48_coco": lambda: tensors.higherhrnet(48, 17),
    "higherhrnet_w32_crowdpose": lambda: tensors.higherhrnet(32, 14),
    "poseae_posenet": tensors.poseae,
    "cornernet_hourglass104": lambda: tensors.cornernet(80, False),
}


@pytest.mark.parametrize("name", LISTED)
def test_tensor_names_and_shapes_match(golden, name):
    assert dict(LISTED[name]()) == golden.Net(name).shapes


def test_names_of_mmpose_1_are_those_of_the_first_stage(golden):
    left = golden.keymap("higherhrnet_official_to_mmpose1_hrnet_ae")
    second = ("final_layers.1", "deconv_layers")
    names = {name for name, _ in tensors.higherhrnet(32, 17) if not name.startswith(second)}
    assert set(left) == names
    plain = {n.replace("backbone.", "").replace("head.", "") for n in left.values()}
    assert plain == {name for name, _ in tensors.hrnet_ae(32, 17)}


OTHERS = {
    "cornernet_official_to_mmdet3": names.in_mmdetection,
    "cornernet_official_to_cornernetlite": names.in_cornernet_lite,
    "higherhrnet_official_to_mmpose0": partial(names.in_mmpose, head="keypoint_head"),
}


@pytest.mark.parametrize("keymap", OTHERS)
def test_tensor_names_of_other_programs_match(golden, keymap):
    for first, other in golden.keymap(keymap).items():
        assert OTHERS[keymap](first) == other


def test_tensor_names_of_both_mmpose_versions_match(golden):
    heads = ("keypoint_head", "head")
    listed = [[names.in_mmpose(n, head) for n, _ in tensors.hrnet_ae(32, 17)] for head in heads]
    assert golden.keymap("hrnet_ae_mmpose0_to_mmpose1") == dict(zip(*listed))


def test_answer_of_a_network_matches(golden):
    net = golden.Net("higherhrnet_w32_coco")
    found = networks.higherhrnet(net.weights(), net.input[0])
    for maps, name in zip(found, ("stage0", "stage1"), strict=True):
        wanted = golden.expected(f"networks/{net.name}:{name}")[0]
        np.testing.assert_allclose(maps, wanted, rtol=1e-4, atol=3e-4 * wanted.std())
