"""Reading the image of a request into memory, bounded in size, time and number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tagwise.data.images import image_size
from tagwise.errors import UserError
from tagwise.serving.options import MEBIBYTE, ServeOptions
from tagwise.serving.responses import RequestError, busy

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True)
class Upload:
    """The bytes of an image file, its name if the client gave one, and its size in pixels."""

    content: bytes
    name: str | None
    size: tuple[int, int]


class Uploads:
    """Reads uploads; all that are in memory together have at most `waiting_mb`."""

    def __init__(self, options: ServeOptions) -> None:
        self.options, self.held = options, 0

    @asynccontextmanager
    async def image(self, request: Request) -> AsyncIterator[Upload]:
        """The image of a request: its body, or the one file of a form.

        Raises RequestError: 408 for a client that is too slow, 413 for too many bytes or pixels,
        415 for what is not an image, 400 for a form without a file, 503 if the memory for uploads
        is in use.
        """
        reserved = self._reserve(request)
        try:
            async with asyncio.timeout(self.options.seconds):
                content, name = await self._content(request)
            size = await asyncio.to_thread(self._size, content)
            yield Upload(content, name, size)
        except TimeoutError:
            message = f"the image did not arrive within {self.options.seconds:g} seconds"
            raise RequestError(408, message) from None
        finally:
            self.held -= reserved

    def _reserve(self, request: Request) -> int:
        """Reserve memory for the body. Its length is the most that is read."""
        most = self.options.upload_bytes
        stated = request.headers.get("content-length", "")
        length = int(stated) if stated.isdecimal() else most
        if length > most + MEBIBYTE:  # a form is a little longer than its file
            raise self._too_large()
        if self.held and self.held + length > self.options.waiting_mb * MEBIBYTE:
            raise busy("too many uploads at once")
        self.held += length
        return length

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the file is larger than {self.options.upload_mb:g} MB")

    async def _content(self, request: Request) -> tuple[bytes, str | None]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return await self._form_file(request)
        body = b"".join([chunk async for chunk in self._bounded(request)])
        if not body:
            raise RequestError(
                400, "the request has no image: send its bytes, or a form with a file"
            )
        return body, request.query_params.get("name")

    async def _bounded(self, request: Request) -> AsyncIterator[bytes]:
        total, most = 0, self.options.upload_bytes + MEBIBYTE
        async for chunk in request.stream():
            total += len(chunk)
            if total > most:
                raise self._too_large()
            yield chunk

    async def _form_file(self, request: Request) -> tuple[bytes, str | None]:
        from starlette.datastructures import UploadFile
        from starlette.formparsers import MultiPartException, MultiPartParser

        parser = MultiPartParser(
            request.headers, self._bounded(request), max_files=1, max_fields=8, max_part_size=4096
        )
        parser.spool_max_size = 2 * self.options.upload_bytes + MEBIBYTE  # never on disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise RequestError(400, f"the form cannot be read: {error.message}") from None
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise RequestError(400, "the form has no file; name its field image")
        content = await files[0].read()
        await form.close()
        return content, files[0].filename

    def _size(self, content: bytes) -> tuple[int, int]:
        if len(content) > self.options.upload_bytes:
            raise self._too_large()
        try:
            width, height = image_size(content)
        except UserError as error:
            raise RequestError(415, str(error)) from None
        if width * height > self.options.megapixels * 1e6:
            raise RequestError(
                413,
                f"the image has {width * height / 1e6:.0f} megapixels; at most "
                f"{self.options.megapixels:g} are read",
            )
        return width, height
