"""A dozen lines that let any network group its detections into instances.

    python examples/add_to_your_network.py

The network here is an ordinary one in plain PyTorch. Particles cross the eight layers of a detector
and leave a hit in each, among hits of noise. The network says which hits are noise. It cannot say
which hits belong to the same particle, because there is no class "particle 3". The lines marked
`# tags` add that. They use only the loss and the grouping of tagwise.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from tagwise import grouping, losses  # tags

LAYERS, PARTICLES, NOISE = 8, 4, 4


def make_events(events: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hits (events, P, 3), layers (events, P) and particles (events, P) of random events.

    A hit is a position in its layer, the layer, and a slope. Particle -1 is noise. Particles fly
    straight and cross each other. Slopes are measured with an error of .1, so that a single hit
    does not say where its particle went.
    """
    random = torch.Generator().manual_seed(seed)
    layer = torch.arange(LAYERS).expand(events, PARTICLES, LAYERS)
    start, end = torch.rand(2, events, PARTICLES, 1, generator=random) * 2 - 1
    place = start + (end - start) * layer / (LAYERS - 1)
    place = place + 0.01 * torch.randn(place.shape, generator=random)
    slope = end - start + 0.1 * torch.randn(place.shape, generator=random)
    particle = torch.arange(PARTICLES)[:, None].expand(events, PARTICLES, LAYERS)
    noise, noise_slope = torch.rand(2, events, NOISE, generator=random) * 2 - 1
    noise_layer = torch.randint(LAYERS, (events, NOISE), generator=random)
    place = torch.cat([place.flatten(1), noise], 1)
    slope = torch.cat([slope.flatten(1), noise_slope], 1)
    layer = torch.cat([layer.flatten(1), noise_layer], 1)
    particle = torch.cat([particle.flatten(1), torch.full((events, NOISE), -1)], 1)
    hits = torch.stack([place, 2 * layer / (LAYERS - 1) - 1, slope], dim=2)
    return hits, layer, particle


class HitNet(nn.Module):
    """Attention over the hits of an event; for each hit the logit that it is not noise."""

    def __init__(self, width: int = 48, tag_dim: int = 4):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.mix = nn.TransformerEncoder(layer, 2)
        self.real = nn.Linear(width, 1)
        self.tag = nn.Linear(width, tag_dim)  # tags

    def forward(self, hits: torch.Tensor):
        features = self.mix(self.embed(hits))
        return self.real(features).squeeze(2), self.tag(features)  # tags (the second output)


def train(network: HitNet, steps: int, batch: int = 32) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        hits, _, particle = make_events(batch, seed=step)
        real, tag = network(hits)
        loss = F.binary_cross_entropy_with_logits(real, (particle >= 0).float())
        event = torch.arange(batch)[:, None].expand_as(particle)  # tags
        apart = losses.pull_push(tag.flatten(0, 1), particle.flatten(), event.flatten())  # tags
        loss = loss + apart.pull + apart.push  # tags
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step}: loss {loss:.3f}, pull {apart.pull:.3f}, push {apart.push:.3f}")


@torch.no_grad()
def accuracy(network: HitNet, events: int = 200) -> tuple[float, float]:
    """Share of hits classified correctly, and share of particles found hit for hit."""
    hits, layer, particle = make_events(events, seed=1_000_000)
    real, tag = network(hits)
    event = torch.arange(events)[:, None].expand_as(particle)  # tags
    event = torch.where(real > 0, event, -1)  # tags (leaves out predicted noise)
    groups = grouping.group_by_type(  # tags
        tag.flatten(0, 1),
        layer.flatten(),
        radius=1.0,
        image=event.flatten(),  # tags
    )  # tags
    found = groups.group.reshape(events, -1)
    return ((real > 0) == (particle >= 0)).float().mean().item(), exact(found, particle.numpy())


def exact(found, truth) -> float:
    """Share of the true groups that equal a found group; rows are events, -1 is no group."""
    correct = total = 0
    for own, true in zip(found, truth):
        sets = {frozenset((own == g).nonzero()[0].tolist()) for g in set(own.tolist()) - {-1}}
        for g in set(true.tolist()) - {-1}:
            correct += frozenset((true == g).nonzero()[0].tolist()) in sets
            total += 1
    return correct / total


def main(steps: int = 800) -> tuple[float, float]:
    """Train, and return the share of particles found before and after."""
    torch.manual_seed(0)
    network = HitNet()
    before = accuracy(network)
    train(network, steps)
    after = accuracy(network)
    for when, (hits, particles) in (("before", before), ("after", after)):
        print(f"{when}: {hits:.1%} of hits classified, {particles:.1%} of particles found exactly")
    return before[1], after[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800)
    main(parser.parse_args().steps)
