"""Figures about a server, in the text format of Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass
class Metrics:
    """Counts since the start. They change on the thread of the event loop only.

    requests: by (path, status). batches, images: runs of the network, and images in them.
    refused: requests that found the queue full.
    """

    requests: Counter = field(default_factory=Counter)
    seconds: Counter = field(default_factory=Counter)
    buckets: Counter = field(default_factory=Counter)
    batches: int = 0
    images: int = 0
    refused: int = 0

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; path: the pattern of its address, not the address itself."""
        self.requests[path, status] += 1
        self.seconds[path] += seconds
        for bound in _BOUNDS:
            self.buckets[path, bound] += seconds <= bound

    def batch(self, images: int) -> None:
        """Count a run of the network."""
        self.batches += 1
        self.images += images

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All figures; gauges: name -> description and value now."""
        lines = _header("tagwise_requests_total", "counter", "Requests by address and status.")
        lines += [
            f'tagwise_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.requests.items())
        ]
        lines += self._histogram()
        counts = {
            "tagwise_batches_total": ("Runs of the network.", self.batches),
            "tagwise_images_total": ("Images that the network has seen.", self.images),
            "tagwise_refused_total": ("Requests refused because the queue was full.", self.refused),
            "process_cpu_seconds_total": ("CPU time, without workers.", time.process_time()),
        }
        for name, (words, value) in counts.items():
            lines += [*_header(name, "counter", words), f"{name} {value}"]
        for name, (words, value) in gauges.items():
            lines += [*_header(name, "gauge", words), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name = "tagwise_request_seconds"
        lines = _header(name, "histogram", "Time from the first byte of a request to its answer.")
        totals: Counter = Counter()
        for (path, _), count in self.requests.items():
            totals[path] += count
        for path, total in sorted(totals.items()):
            lines += [
                f'{name}_bucket{{path="{path}",le="{bound:g}"}} {self.buckets[path, bound]}'
                for bound in _BOUNDS
            ]
            lines += [
                f'{name}_bucket{{path="{path}",le="+Inf"}} {total}',
                f'{name}_sum{{path="{path}"}} {self.seconds[path]:.6f}',
                f'{name}_count{{path="{path}"}} {total}',
            ]
        return lines


def _header(name: str, kind: str, words: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
