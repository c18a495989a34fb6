import pytest
import torch

from tagwise.errors import UserError
from tagwise.models.heads import (
    Branch,
    add_position,
    check_features,
    features_for,
    start_output,
    stride_of,
)
from tagwise.tasks import Head

CHANNELS = {"p4": 6, "p8": 5, "c8": 7, "p16": 4}


def features_of(height, width):
    return {
        name: torch.randn(2, count, height // int(name[1:]), width // int(name[1:]))
        for name, count in CHANNELS.items()
    }


@pytest.mark.parametrize("names", [("p4",), ("p4", "p8", "c8", "p16"), ("p16", "p4")])
@pytest.mark.parametrize("depth", [0, 2])
def test_branch_outputs_maps_at_the_finest_stride(names, depth):
    branch = Branch(CHANNELS, names, 8, depth, 3).eval()
    assert branch(features_of(64, 96)).shape == (2, 3, 16, 24)


def test_branch_reads_each_of_its_features_and_no_other():
    torch.manual_seed(0)
    branch = Branch(CHANNELS, ("p4", "c8", "p16"), 8, 1, 3).eval()
    features = features_of(64, 64)
    before = branch(features)
    for name in CHANNELS:
        changed = branch({**features, name: features[name] + 1})
        assert torch.equal(changed, before) == (name == "p8"), name


def test_coarse_features_enlarge_the_receptive_field():
    torch.manual_seed(0)
    features = {name: value.requires_grad_() for name, value in features_of(256, 256).items()}
    branch = Branch(CHANNELS, ("p4", "p8", "p16"), 8, 1, 1, separable=False).eval()
    branch(features)[0, 0, 32, 32].backward()
    reach = {}
    for name in ("p4", "p16"):
        seen = features[name].grad[0].abs().sum((0, 1)).nonzero()
        reach[name] = (seen.max() - seen.min()).item() * int(name[1:])
    assert reach["p16"] >= 4 * reach["p4"]


def test_position_is_the_pixel_of_the_cell_centre_in_units():
    tags = add_position(torch.zeros(1, 4, 3, 5), unit=24.0, scale=2.0, stride=4)
    for row in range(3):
        for column in range(5):
            x, y = (column + 0.5) * 4 - 0.5, (row + 0.5) * 4 - 0.5
            expected = torch.tensor([x, y, x, y]) / 24
            torch.testing.assert_close(tags[0, :, row, column], expected)


def test_position_scales_the_prediction_and_passes_its_gradient():
    prediction = torch.randn(2, 2, 4, 4, requires_grad=True)
    flat = add_position(torch.zeros(2, 2, 4, 4), 24.0, 2.0, 4)
    tags = add_position(prediction, 24.0, 2.0, 4)
    torch.testing.assert_close(tags - flat, 2 * prediction, rtol=1e-4, atol=1e-5)
    tags.sum().backward()
    torch.testing.assert_close(prediction.grad, torch.full_like(prediction, 2.0))


def test_position_is_float32_if_bfloat16_cannot_distinguish_pixels():
    tags = add_position(torch.zeros(1, 2, 1, 512, dtype=torch.bfloat16), 24.0, 2.0, 4)
    assert tags.dtype == torch.float32
    assert len(tags[0, 0, 0].unique()) == 512


def test_position_needs_pairs_of_maps():
    with pytest.raises(ValueError, match="even number of tag maps, not 3"):
        add_position(torch.zeros(1, 3, 2, 2), 24.0, 2.0, 4)


def test_outputs_start_at_their_bias_and_tags_with_a_spread():
    torch.manual_seed(0)
    heat, tag = torch.nn.Conv2d(64, 17, 1), torch.nn.Conv2d(64, 17, 1)
    start_output(heat, Head(17, "heatmap", bias=-4.0))
    start_output(tag, Head(17, "tag"))
    x = torch.randn(1, 64, 8, 8)
    assert (heat(x) + 4).abs().max() < 0.1
    assert tag(x).std(dim=1).mean() > 0.1


@pytest.mark.parametrize("features", ["p4", ["p8"], [], ["x"]])
def test_features_must_reach_the_output_stride(features):
    with pytest.raises(UserError, match="one at stride 4"):
        check_features(features, 4)


@pytest.mark.parametrize(
    ("corner", "stride", "expected"),
    [
        (None, 4, ("p4", "c8", "p16")),
        ("tl", 4, ("tl4", "c8", "p16")),
        ("br", 16, ("br16", "p4", "c8")),
    ],
)
def test_heads_of_a_corner_read_pooled_features_instead_of_the_finest(corner, stride, expected):
    head = Head(2, "tag", corner=corner)
    assert features_for(head, ["p4", "c8", "p16"], stride) == expected


def test_names_of_features_contain_their_stride():
    assert [stride_of(name) for name in ("p4", "c32", "tl4", "br2")] == [4, 32, 4, 2]


def test_unknown_feature_is_named_with_the_nearest():
    with pytest.raises(UserError, match="unknown feature 'p44'; did you mean 'p4'"):
        Branch(CHANNELS, ("p4", "p44"), 8, 1, 3)


@pytest.mark.parametrize(("width", "depth"), [(0, 1), (8, -1), (10**9, 1), (8, 10**9), (8.5, 1)])
def test_sizes_out_of_range_are_refused(width, depth):
    with pytest.raises(UserError, match="of a head must be a whole number"):
        Branch(CHANNELS, ("p4",), width, depth, 3)
