"""What the addresses of a server share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tagwise.serving.engine import Engine
from tagwise.serving.metrics import Metrics
from tagwise.serving.models import ModelStore
from tagwise.serving.options import ServeOptions
from tagwise.serving.sessions import Sessions
from tagwise.serving.truth import LabelledSet
from tagwise.serving.uploads import Uploads


@dataclass
class State:
    """The parts of a running server.

    models: facts about each model, as plain values, for the list on the page.
    """

    options: ServeOptions
    store: ModelStore
    models: Sequence[dict[str, Any]] = ()
    labelled: LabelledSet | None = None
    metrics: Metrics = field(default_factory=Metrics)
    engine: Engine = field(init=False)
    sessions: Sessions = field(init=False)
    uploads: Uploads = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        self.engine = Engine(
            self.store, options.workers, options.queue, options.batch_size, self.metrics
        )
        self.sessions = Sessions(options.images, options.maps_mb)
        self.uploads = Uploads(options)
