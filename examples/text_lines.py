"""Characters to words and to lines, on pages where lines are curved and cross each other.

    python examples/text_lines.py [--steps N] [--seed N] [--out PICTURE.png] [--page SCAN.png]

The characters of a page are its connected dark parts (`field_data/pages.py`). A network sees their
places, sizes and surroundings, and gives each two tags: one of its word, and one of its line. The
baseline connects characters with a small gap between them; it is tuned on other pages.
"""

from functools import partial
from itertools import product

import numpy as np
import torch
from field_data.pages import PATCH, Pages, by_gap, make_pages, save_picture
from field_data.report import Table, f1, options, pair_f1, print_table
from torch import nn
from torch.nn import functional as F

from tagwise import grouping, losses


class TextNet(nn.Module):
    """Tags of words and of lines, each (S, P, D), D >= 2, of the characters of pages."""

    def __init__(self, tag_dim: int = 4, width: int = 64, near: int = 12, start: float = 0.75):
        super().__init__()
        w, self.near, self.tag_dim = width, near, tag_dim
        self.start = start  # tags start from `start` times the position
        self.own = nn.Sequential(nn.Linear(PATCH**2 + 2, 128), nn.ReLU(), nn.Linear(128, w))
        edges = (nn.Sequential(nn.Linear(2 * w + 4, w), nn.ReLU(), nn.Linear(w, w)) for _ in "abc")
        self.edges, self.place = nn.ModuleList(edges), nn.Linear(18, w)
        layer = nn.TransformerEncoderLayer(w, 4, 2 * w, dropout=0.0, batch_first=True)
        self.mix = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.tags = nn.Linear(2 * w, 2 * tag_dim)

    def forward(self, pages: Pages) -> tuple[torch.Tensor, torch.Tensor]:
        real = (pages.word >= 0)[..., None]
        place = pages.place - (pages.place * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
        away = torch.cdist(place, place) + 1e3 * ~real.transpose(1, 2)
        near = away.topk(min(self.near, away.shape[1]), largest=False).indices
        page = torch.arange(len(near))[:, None, None]
        offset = place[page, near] - place[:, :, None]
        x = self.own(torch.cat([pages.patch, pages.box], 2))
        for edge in self.edges:  # each character looks at its neighbours
            pair = [x[page, near], x[:, :, None].expand(*near.shape, -1), offset / 2, offset.abs()]
            x = x + edge(torch.cat(pair, 3)).amax(2)
        waves = torch.cat([place[..., None] * 2.0**-k for k in range(2, 6)], 3).flatten(2)
        wide = x + self.place(torch.cat([place / 10, waves.sin(), waves.cos()], 2))
        wide = self.mix(wide, src_key_padding_mask=~real[..., 0])  # and then at the whole page
        word, line = self.tags(torch.cat([x, wide], 2)).chunk(2, dim=2)
        start = F.pad(self.start * place, (0, self.tag_dim - 2))
        return word + start, line + start / 4


def tag_loss(tags: torch.Tensor, group: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return sum(losses.pull_push(tags, group, image))


def train(pages: Pages, steps: int, loss=tag_loss, seed: int = 0, lr: float = 2e-3) -> TextNet:
    torch.manual_seed(seed)
    network = TextNet()
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for step in range(steps):
        pick = torch.randint(len(pages.word), (8,))
        part = Pages(*(v[pick, : (pages.word[pick] >= 0).sum(1).amax()] for v in pages))
        page = torch.arange(len(pick))[:, None].expand_as(part.word).flatten()
        truth = zip(network(part), (part.word, part.line))
        parts = [loss(tags.flatten(0, 1), group.flatten(), page) for tags, group in truth]
        optimizer.zero_grad()
        sum(parts).backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss of words {parts[0]:.3f}, of lines {parts[1]:.3f}")
    return network


@torch.no_grad()
def by_tag(network: TextNet, pages: Pages) -> list[np.ndarray]:
    """The word and the line of each character, both (S, P). Words have no wide gaps."""
    word, line = (tags.flatten(0, 1) for tags in network(pages))
    page = torch.where(pages.word < 0, -1, torch.arange(len(pages.word))[:, None]).flatten()
    place, box = (values.flatten(0, 1).numpy() for values in (pages.place, pages.box))

    def gate(i, j):
        return (abs(place[i] - place[j]) - (box[i] + box[j]) / 2).max(axis=1) < 0.4

    words = grouping.group_connected(word, radius=0.75, image=page, gate=gate)
    lines = grouping.group_by_seed(line, bandwidth=1.0, image=page)
    return [groups.group.reshape(pages.word.shape) for groups in (words, lines)]


def main(steps: int = 600, pages: int = 400, tests: int = 50, out=None, page=None, seed=0) -> Table:
    """Train, print the table and draw pages. Returns the scores by method."""
    test, tuning = make_pages(tests, seed=1), make_pages(min(tests, 30), seed=2)
    ways = list(product((n / 10 for n in range(1, 15)), (1, 2, 4)))
    best = [max(ways, key=lambda w: f1(by_gap(tuning, *w), true, 0.999)) for true in tuning[3:]]
    print("tuned gap and weight of vertical gaps, for words and lines:", *best)
    network, rows = train(make_pages(pages, seed=0), steps, seed=seed), {}
    methods = {"small gaps": lambda some: [by_gap(some, *way) for way in best]}
    methods["tags"] = lambda some: by_tag(network, some)
    for name, method in methods.items():
        found = zip(method(test), test[3:])
        rows[name] = [f(*pair) for pair in found for f in (partial(f1, iou=0.999), pair_f1)]
    print_table(["words found", "pairs", "lines found", "pairs"], rows)
    if out:
        save_picture(methods, page, out)
    return rows


if __name__ == "__main__":
    main(**options(__doc__, steps=600, page="a scanned page to show too"))
