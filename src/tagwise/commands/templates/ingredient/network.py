"""The network (place 2 of 5): use your own, and keep its two outputs.

What matters is that a point can see the others, so that the points of a group can agree
on a tag. Attention does that for sets of points, convolutions do it for images.
"""

from typing import NamedTuple

from torch import Tensor, nn

from .data import FEATURES, Batch

TAG_DIM = 4  # 2 to 4 for a few groups per scene, 8 for hundreds


class Output(NamedTuple):
    """What the network says about each point of a batch."""

    tags: Tensor  # (B, P, TAG_DIM)
    real: Tensor  # (B, P) logit that the point is not noise


class TagNetwork(nn.Module):
    """Attention over the points of a scene; their order does not matter."""

    def __init__(self, width: int = 48, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width)
        )
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.tags = nn.Linear(width, TAG_DIM)
        self.real = nn.Linear(width, 1)
        nn.init.constant_(self.real.bias, 2.0)  # most points are not noise

    def forward(self, batch: Batch) -> Output:
        """Compute the tag of each point; those of the padding mean nothing."""
        features = self.embed(batch.features)
        features = self.mix(features, src_key_padding_mask=~batch.used)
        return Output(self.tags(features), self.real(features).squeeze(2))
