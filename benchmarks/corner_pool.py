"""Corner pooling, forward and backward: 1 x 128 x 128 x 128, float32, one thread, both layouts.

    python benchmarks/corner_pool.py

The goal is 7 CPU ms along H and 10 along W. The networks of tagwise run in channels_last. The
references are torch.cummax on a flipped map, as in most ports to plain torch, and the loop of the
first official kernel, which processes one row or column after the other.
"""

from collections.abc import Callable
from functools import partial

import torch
from _bench import arguments, at_size, report, timed, verdict

from tagwise.models.corner_pool import corner_pool

SHAPE = at_size((1, 128, 128, 128), (1, 2, 8, 8))
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
GOALS = {"top": 7.0, "bottom": 7.0, "left": 10.0, "right": 10.0}


def main() -> None:
    arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [row(direction, layout) for layout in LAYOUTS for direction in GOALS]
    report("corner_pool", [*rows, half_row("left"), half_row("top")])


def row(direction: str, layout: str) -> dict:
    """All three methods on the same map; top and bottom run along H, left and right along W."""
    x, gradient = maps(torch.float32, LAYOUTS[layout])
    ms = timed(partial(step, x, gradient, corner_pool, direction))
    return {
        "work": f"{direction}, {layout}",
        "ms": ms,
        "forward ms": timed(partial(forward, x, direction)),
        "flip + cummax": timed(partial(step, x, gradient, flip_cummax, direction)),
        "naive": timed(partial(step, x, gradient, naive, direction), repeats=10),
        "goal": GOALS[direction],
        "": verdict(ms, GOALS[direction]),
    }


def half_row(direction: str) -> dict:
    x, gradient = maps(torch.bfloat16, torch.channels_last)
    return {
        "work": f"{direction}, channels_last, bfloat16",
        "ms": timed(partial(step, x, gradient, corner_pool, direction)),
        "forward ms": timed(partial(forward, x, direction)),
        "flip + cummax": timed(partial(step, x, gradient, flip_cummax, direction)),
    }


def maps(dtype: torch.dtype, layout: torch.memory_format) -> tuple[torch.Tensor, torch.Tensor]:
    """A leaf to pool, and the gradient of its output."""
    x, gradient = (torch.randn(SHAPE, dtype=dtype).contiguous(memory_format=layout) for _ in "xg")
    return x.requires_grad_(), gradient


def step(x: torch.Tensor, gradient: torch.Tensor, pool: Callable, direction: str) -> None:
    x.grad = None
    pool(x, direction).backward(gradient)


@torch.no_grad()
def forward(x: torch.Tensor, direction: str) -> None:
    corner_pool(x, direction)


def flip_cummax(x: torch.Tensor, direction: str) -> torch.Tensor:
    axis = -2 if direction in ("top", "bottom") else -1
    if direction in ("bottom", "right"):
        return x.cummax(axis).values
    return x.flip(axis).cummax(axis).values.flip(axis)


def naive(x: torch.Tensor, direction: str) -> torch.Tensor:
    axis = -2 if direction in ("top", "bottom") else -1
    lines = x.unbind(axis)
    if direction in ("top", "left"):
        lines = lines[::-1]
    pooled = [lines[0]]
    for line in lines[1:]:
        pooled.append(torch.maximum(pooled[-1], line))
    if direction in ("top", "left"):
        pooled = pooled[::-1]
    return torch.stack(pooled, axis)


if __name__ == "__main__":
    main()
