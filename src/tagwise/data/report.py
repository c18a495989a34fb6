"""Problems of a dataset, which are reported instead of raised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A problem of a dataset.

    kind: what is wrong and what was done about it, in words that similar problems share.
    file: the file name of the image. image_id, annotation_id: None if unknown.
    detail: the values that are wrong.
    """

    kind: str
    file: str = ""
    image_id: int | None = None
    annotation_id: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        ids = (("image", self.image_id), ("annotation", self.annotation_id))
        where = [self.file, *(f"{name} {value}" for name, value in ids if value is not None)]
        return ": ".join(part for part in (", ".join(filter(None, where)), self.detail) if part)


def summary(problems: Sequence[Problem], examples: int = 3) -> str:
    """Format the number of problems of each kind, with the first few of each.

    examples: the maximum number of problems listed for each kind.

    >>> print(summary([Problem("image file is missing, image left out", "a.jpg", 7)]))
    1 problem in the data:
      1 × image file is missing, image left out
          a.jpg, image 7
    """
    if not problems:
        return "no problems in the data"
    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    lines = [f"{len(problems)} problem{'s' * (len(problems) > 1)} in the data:"]
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {len(found)} × {kind}")
        lines += [f"      {problem}" for problem in found[:examples]]
        if len(found) > examples:
            lines.append(f"      and {len(found) - examples} more")
    return "\n".join(lines)
