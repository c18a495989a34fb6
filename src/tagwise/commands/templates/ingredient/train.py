"""Train the network, and show its groups before and after.

python -m my_task.train    # writes my_task_run/groups.png and my_task_run/network.pt
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from .data import Batch, Scenes, stack
from .metric import pair_f1, share_exact
from .network import TagNetwork
from .plot import plot_groups
from .tags import find_groups, tag_loss

OUT = Path("my_task_run")
TEST_SEED = 1_000_000  # far from the seeds of the training scenes


def train(network: TagNetwork, steps: int, scenes: int, lr: float = 4e-3) -> None:
    """Train for a number of steps, with 32 of the training scenes in each."""
    data = DataLoader(Scenes(scenes), 32, shuffle=True, collate_fn=stack)
    optimizer = torch.optim.Adam(network.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    step = 0
    while step < steps:
        for batch in data:
            loss = tag_loss(network(batch), batch)
            optimizer.zero_grad()
            torch.stack(loss).sum().backward()
            optimizer.step()
            schedule.step()
            if step % 100 == 0:
                terms = zip(loss._fields, loss, strict=True)
                shown = (f"{name} {float(value.detach()):.3f}" for name, value in terms)
                print(f"step {step}: {', '.join(shown)}", flush=True)
            step += 1
            if step == steps:
                break


@torch.no_grad()
def evaluate(network: TagNetwork, batch: Batch) -> tuple[np.ndarray, float, float]:
    """Return the found groups (B, P), their pair F1 and the share of exact groups."""
    network.eval()
    found = find_groups(network(batch), batch)
    network.train()
    truth = batch.group.cpu().numpy()
    return found, pair_f1(found, truth), share_exact(found, truth)


def main(steps: int = 500, scenes: int = 8000, out: Path = OUT) -> tuple[float, float]:
    """Train, write the picture and the weights, and return pair F1 before and after."""
    torch.set_num_threads(1)  # faster for a network this small
    torch.manual_seed(0)
    out.mkdir(parents=True, exist_ok=True)
    network, test = TagNetwork(), stack(Scenes(200, TEST_SEED).scenes)
    rows, scores = {"truth": test.group.numpy()}, []
    for when in ("before", "after"):
        if when == "after":
            train(network, steps, scenes)
        found, f1, exact = evaluate(network, test)
        print(f"{when} training: pair F1 {f1:.1%}, {exact:.1%} of groups exact")
        rows[f"{when} training"] = found
        scores.append(f1)
    plot_groups(out / "groups.png", test, rows)
    torch.save(network.state_dict(), out / "network.pt")
    print(f"the picture is {out / 'groups.png'}, the weights are {out / 'network.pt'}")
    return scores[0], scores[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the network of my_task.")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    main(arguments.steps, arguments.scenes, arguments.out)
