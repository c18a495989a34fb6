"""Random tagged points in several images, and the pairs that may be grouped."""

import numpy as np
from hypothesis import strategies as st
from scipy import sparse


def distances(first, second):
    return np.sqrt(((first[:, None] - second[None]) ** 2).sum(axis=2))


def partition(group):
    """The groups as sets of points."""
    return {frozenset(np.flatnonzero(group == g).tolist()) for g in set(group[group >= 0].tolist())}


@st.composite
def tagged_points(draw, most=30):
    """rng, tags (P, D), image (P,) with a few that are ignored, gate (P, P) bool or None."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, dims = draw(st.integers(0, most)), draw(st.integers(1, 4))
    tags = rng.normal(0, draw(st.sampled_from([0.3, 1.0, 4.0])), (count, dims))
    image = rng.integers(-1, draw(st.integers(1, 3)), count)
    gate = rng.random((count, count)) < 0.7 if draw(st.booleans()) else None
    return rng, tags, image, gate


def forms_of(gate):
    """The same gate as a dense matrix, a sparse one, and a function."""
    yield gate
    yield None if gate is None else sparse.csr_array(gate)
    yield None if gate is None else lambda i, j: gate[i, j]
