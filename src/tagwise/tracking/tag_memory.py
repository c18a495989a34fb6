"""The evidence of tags over time: the remembered tag of each track, and its reliability."""

from __future__ import annotations

import numpy as np

# Probability that a tag was read from another instance, so that one outlier cannot end a track.
_OUTLIER = 0.02
# After _PRIOR pairs the measured spread within instances has half its weight (as an exponent
# between the two spreads). Spreads are averaged over the last _LONGEST pairs.
_PRIOR, _LONGEST = 10, 1000


class TagMemory:
    """The remembered tags of T tracks, and how tags spread within and between instances.

    keep_share: weight of the remembered tag when a track is detected again.
    within: mean squared difference per dimension between an instance's tag and its track's.
    between: the same between different instances of one frame.

    Tags that were trained to agree over a clip have within << between. Tags that only separate the
    instances of one image differ as much between frames as between instances, and then have no
    effect. Initially, within = between.
    """

    def __init__(self, keep_share: float = 0.9) -> None:
        self.keep_share = keep_share
        self.tags = np.zeros((0, 0))  # (T, D), NaN before the first tag
        self.count = np.zeros(0)  # number of tags averaged in each
        self.within = self.between = 0.0
        self._pairs = {"within": 0.0, "between": 0.0}

    def fitted(self, tags: np.ndarray) -> np.ndarray:
        """Return tags (N, D) of a frame, NaN if it has none. The first tags determine D."""
        D = self.tags.shape[1]
        if not D:
            self.tags = np.full((len(self.tags), tags.shape[1]), np.nan)
        elif not tags.size:
            return np.full((len(tags), D), np.nan)
        elif tags.shape[1] != D:
            raise ValueError(f"tags have {tags.shape[1]} dimensions, earlier ones had {D}")
        return tags

    def add(self, tags: np.ndarray) -> None:
        """Append tracks with tags (N, D), NaN where unknown."""
        self.tags = np.concatenate([self.tags, tags])
        self.count = np.concatenate([self.count, np.isfinite(tags).all(1)])

    def keep(self, which: np.ndarray) -> None:
        """Keep only the tracks of a mask or index."""
        self.tags, self.count = self.tags[which], self.count[which]

    def evidence(self, tags: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Return the evidence of each tag (N, D) for each track in nats, (T, N); 0 if unknown.

        gap: (T,) frames since the last detection of a track. The mean age of a remembered tag is
        1 / (1 - keep_share) frames; over longer gaps tags are assumed to drift as a random walk.
        """
        shape, D = (len(self.tags), len(tags)), tags.shape[1]
        if not D or self.between <= 0 or self.within <= 0:
            return np.zeros(shape)
        weight = self._pairs["within"] / (self._pairs["within"] + _PRIOR)
        within = self.between * (self.within / self.between) ** weight
        within = within * np.maximum(1, gap * (1 - self.keep_share))
        within = np.minimum(within, self.between)[:, None]
        square = ((self.tags[:, None] - tags[None]) ** 2).sum(-1)
        known = ~np.isnan(square)
        exponent = D / 2 * np.log(self.between / within)
        exponent = exponent - np.where(known, square, 0) / 2 * (1 / within - 1 / self.between)
        evidence = np.logaddexp(np.log(1 - _OUTLIER) + exponent, np.log(_OUTLIER))
        return np.where(known, evidence, 0.0)

    def correct(self, rows: np.ndarray, tags: np.ndarray) -> None:
        """Update the tracks `rows` (M,) with tags (M, D); unknown tags change nothing."""
        known = np.isfinite(tags).all(1)
        rows, tags = rows[known], tags[known]
        self.count[rows] += 1
        share = np.maximum(1 / self.count[rows], 1 - self.keep_share)[:, None]
        before = np.where(np.isnan(self.tags[rows]), tags, self.tags[rows])
        self.tags[rows] = before + share * (tags - before)

    def learn(self, rows: np.ndarray, tags: np.ndarray, frame: np.ndarray) -> None:
        """Update the measured spreads; call it before `correct`.

        rows, tags: tracks (M,) whose match is certain from motion only, and its tags (M, D).
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
