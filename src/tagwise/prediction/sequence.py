"""The results of a run as a sequence that is computed as it is read."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, overload

from tagwise.console.streams import print_note
from tagwise.results import Result
from tagwise.results.tables import Row, columns_of, data_frame, write_csv, write_parquet

_LARGE = 2 << 30  # bytes of images in kept results from which a note names `stream`


class Results(Iterator[Result]):
    """The results of many images.

    Iterating, an index or `len` predicts as many images as that needs. Results are kept, so that
    `results[0]` and a second loop need no second prediction; with `stream` they are not, and can be
    iterated once. An image that cannot be read has no result. Files are written, if asked for, as
    results are computed.
    """

    def __init__(self, results: Generator[Result, None, None], stream: bool) -> None:
        self._results = results
        self._kept: list[Result] | None = None if stream else []
        self._next, self._bytes = 0, 0.0

    def __next__(self) -> Result:
        if self._kept is None:
            return next(self._results)
        if not self._reach(self._next):
            raise StopIteration
        self._next += 1
        return self._kept[self._next - 1]

    def __iter__(self) -> Iterator[Result]:
        return self if self._kept is None else self._from_start(self._kept)

    def _from_start(self, kept: list[Result]) -> Iterator[Result]:
        number = 0
        while self._reach(number):
            yield kept[number]
            number += 1

    def __bool__(self) -> bool:
        """Whether there is a first result; True with `stream`."""
        return self._kept is None or self._reach(0)

    def __len__(self) -> int:
        self._need_kept()
        self._reach(None)
        return len(self._kept)

    @overload
    def __getitem__(self, which: int) -> Result: ...
    @overload
    def __getitem__(self, which: slice) -> list[Result]: ...
    def __getitem__(self, which: int | slice) -> Result | list[Result]:
        self._need_kept()
        forward = isinstance(which, int) and which >= 0
        self._reach(which if forward else None)
        return self._kept[which]

    def _need_kept(self) -> None:
        if self._kept is None:  # a TypeError, which list() understands
            raise TypeError("results of stream=True can only be iterated; leave out stream")

    def _reach(self, number: int | None) -> bool:
        """Predict until result `number` is there, or to the end; return whether it is."""
        while number is None or number >= len(self._kept):
            result = next(self._results, None)
            if result is None:
                return False
            self._kept.append(result)
            self._bytes += 0 if result.image is None else result.image.nbytes
            if self._bytes > _LARGE:
                self._bytes = float("-inf")
                print_note(
                    f"{len(self._kept)} results hold their images in memory, {_LARGE >> 30} GB; "
                    "iterate over predict(..., stream=True) to keep none"
                )
        return True

    # ------------------------------------------------------------------ tables of all results

    def to_df(self, library: str = "pandas") -> Any:
        """One data frame with the instances of all results, see `Result.to_df`."""
        return data_frame(*self._table(), library)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table of `to_df` as a CSV file in UTF-8, and return its path."""
        return write_csv(*self._table(), path)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the table of `to_df` as a Parquet file, and return its path."""
        return write_parquet(*self._table(), path)

    def _table(self) -> tuple[list[str], list[Row]]:
        columns, rows = columns_of(()), []
        for number, result in enumerate(self):
            columns = columns if number else result.columns()
            rows += result.rows()
        return columns, rows
