"""The images that the explorer has open: their maps in memory, bounded in number and bytes."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from tagwise.serving.options import MEBIBYTE
from tagwise.serving.responses import RequestError
from tagwise.serving.truth import Truth
from tagwise.serving.views import View


@dataclass(frozen=True)
class Session:
    """An image that the network has seen.

    model: name of the model. name: of the image file, or None. view: its maps. truth: its labels.
    """

    model: str
    name: str | None
    view: View
    truth: Truth | None = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @property
    def bytes(self) -> int:
        """Memory of the maps."""
        return sum(maps.nbytes for maps in self.view.maps.values())


class Sessions:
    """Sessions by id. The ones that were not used for longest make room for new ones."""

    def __init__(self, most: int, megabytes: float) -> None:
        self._most, self._bytes = most, megabytes * MEBIBYTE
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def bytes(self) -> int:
        """Memory of all maps."""
        with self._lock:
            return sum(session.bytes for session in self._sessions.values())

    def add(self, session: Session) -> None:
        """Keep a session. Raises RequestError (413) if it alone is over the limit."""
        if session.bytes > self._bytes:
            raise RequestError(
                413,
                f"the maps of this image take {session.bytes / MEBIBYTE:.0f} MB, more than the "
                f"{self._bytes / MEBIBYTE:.0f} MB of the server; use a smaller image",
            )
        with self._lock:
            self._sessions[session.id] = session
            while len(self._sessions) > self._most or self._total() > self._bytes:
                self._sessions.popitem(last=False)

    def _total(self) -> int:
        return sum(session.bytes for session in self._sessions.values())

    def get(self, name: str) -> Session:
        """The session of an id. Raises RequestError (410) if there is none."""
        with self._lock:
            if name not in self._sessions:
                raise RequestError(410, "this image is no longer in memory; upload it again")
            self._sessions.move_to_end(name)
            return self._sessions[name]
