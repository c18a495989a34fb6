"""How far each compared case was off: with TAGWISE_PARITY=FILE the table is written there."""

import os
from collections import defaultdict

import numpy as np
import pytest

_LARGEST: dict[str, list] = defaultdict(lambda: [0.0, 0, ""])


@pytest.fixture
def close():
    """Asserts that values are the stored ones, and keeps the largest difference under a name."""

    def compare(case, found, expected, *, atol, rtol=0.0):
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        assert found.shape == expected.shape
        difference = np.abs(found - expected)
        row = _LARGEST[case]
        row[0] = max(row[0], float(difference.max(initial=0)))
        row[1] += 1
        row[2] = f"{atol:g}" + (f" + {rtol:g} of it" if rtol else "")
        assert (difference <= atol + rtol * np.abs(expected)).all(), f"{case}: {difference.max()}"

    return compare


def pytest_sessionfinish():
    path = os.environ.get("TAGWISE_PARITY")
    if path:
        rows = [f"| {n} | {c} | {t} | {d:.1e} |" for n, (d, c, t) in sorted(_LARGEST.items())]
        head = ["| case | compared | tolerance | largest difference |", "|---|---|---|---|"]
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([*head, *rows, ""]))
