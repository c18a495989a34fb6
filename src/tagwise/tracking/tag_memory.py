"""What tags say about identity over time: a memory of each track's tag, and how far to trust it."""

from __future__ import annotations

import numpy as np

# Odds that a tag is read from someone else's place: one outlier cannot end a track.
_ASTRAY = 0.02
# Pairs that the spread within is averaged over: so many before it counts half (as an exponent
# between the two spreads), and so many of the last.
_PRIOR, _LONGEST = 10, 1000


class TagMemory:
    """The remembered tags of T tracks, and how tags spread within and between instances.

    keep_share: how much of a remembered tag stays when a track is seen again.
    within: mean squared difference, by dimension, between an instance's tag and its track's.
    between: the same between different instances of one frame.

    Tags that a network learned to agree over a clip have within << between. Those that only tell
    the instances of one image apart differ as much from frame to frame as between instances, and
    count nothing then. Before anything is known, within = between.
    """

    def __init__(self, keep_share: float = 0.9) -> None:
        self.keep_share = keep_share
        self.tags = np.zeros((0, 0))  # (T, D), NaN where none was seen yet
        self.count = np.zeros(0)  # sightings behind each
        self.within = self.between = 0.0
        self._pairs = {"within": 0.0, "between": 0.0}

    def fitted(self, tags: np.ndarray) -> np.ndarray:
        """Tags (N, D) of a frame, or NaN for those of one that has none; D is settled by them."""
        D = self.tags.shape[1]
        if not D:
            self.tags = np.full((len(self.tags), tags.shape[1]), np.nan)
        elif not tags.size:
            return np.full((len(tags), D), np.nan)
        elif tags.shape[1] != D:
            raise ValueError(f"tags have {tags.shape[1]} dimensions, those before had {D}")
        return tags

    def add(self, tags: np.ndarray) -> None:
        """New tracks with tags (N, D), NaN where not known."""
        self.tags = np.concatenate([self.tags, tags])
        self.count = np.concatenate([self.count, np.isfinite(tags).all(1)])

    def keep(self, which: np.ndarray) -> None:
        """Only the tracks of a mask or index."""
        self.tags, self.count = self.tags[which], self.count[which]

    def evidence(self, tags: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Nats by which each tag (N, D) speaks for each track, (T, N); 0 where one is not known.

        gap: (T,) frames since a track was last seen. A remembered tag is 1 / (1 - keep_share)
        frames old at the mean; over longer gaps tags are taken to have drifted farther, as a
        random walk does.
        """
        shape, D = (len(self.tags), len(tags)), tags.shape[1]
        if not D or self.between <= 0 or self.within <= 0:
            return np.zeros(shape)
        trust = self._pairs["within"] / (self._pairs["within"] + _PRIOR)
        within = self.between * (self.within / self.between) ** trust
        within = within * np.maximum(1, gap * (1 - self.keep_share))
        within = np.minimum(within, self.between)[:, None]
        square = ((self.tags[:, None] - tags[None]) ** 2).sum(-1)
        known = ~np.isnan(square)
        exponent = D / 2 * np.log(self.between / within)
        exponent = exponent - np.where(known, square, 0) / 2 * (1 / within - 1 / self.between)
        evidence = np.logaddexp(np.log(1 - _ASTRAY) + exponent, np.log(_ASTRAY))
        return np.where(known, evidence, 0.0)

    def correct(self, rows: np.ndarray, tags: np.ndarray) -> None:
        """Tracks (M,) were seen with tags (M, D); those that are not known change nothing."""
        known = np.isfinite(tags).all(1)
        rows, tags = rows[known], tags[known]
        self.count[rows] += 1
        share = np.maximum(1 / self.count[rows], 1 - self.keep_share)[:, None]
        before = np.where(np.isnan(self.tags[rows]), tags, self.tags[rows])
        self.tags[rows] = before + share * (tags - before)

    def learn(self, rows: np.ndarray, tags: np.ndarray, frame: np.ndarray) -> None:
        """Measure spreads, before `correct`.

        rows, tags: (M,) and (M, D), tracks that motion alone is sure of, and what was seen.
        frame: (N, D), the tags of all instances of a frame.
        """
        if not self.tags.shape[1]:
            return
        self._average("within", ((self.tags[rows] - tags) ** 2).mean(1))
        frame = frame[np.isfinite(frame).all(1)]
        i, j = np.triu_indices(len(frame), 1)
        self._average("between", ((frame[i] - frame[j]) ** 2).mean(1))

    def _average(self, name: str, values: np.ndarray) -> None:
        values = values[np.isfinite(values)]
        if len(values):
            before = min(self._pairs[name], _LONGEST)
            self._pairs[name] = before + len(values)
            total = getattr(self, name) * before + values.sum()
            setattr(self, name, total / self._pairs[name])
