"""Bodies with files: read piece by piece and handed on, never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from anyio import CancelScope, fail_after, to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from tunesmith.errors import InputError

SILENCE_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 1 << 20
_MOST_FIELD_BYTES: Final = 64 << 10
_MOST_FIELDS: Final = 50


Fields = TypeVar("Fields", bound=BaseModel)


class Sink(Protocol):
    """What takes the bytes of a file."""

    def write(self, data: bytes) -> None: ...


@dataclass
class Form:
    """The fields of a form beside its file."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    filename: str | None = None  # None: no file came


async def pieces(request: Request, silence: float) -> AsyncIterator[bytes]:
    """The body in pieces that are worth a write each. Raises ClientDisconnect where it breaks off.

    What came before a break is handed out first. A sender that is silent for so many seconds is
    gone too: a line that was lost tells nobody.
    """
    gathered = bytearray()
    try:
        async for chunk in _chunks(request, silence):
            gathered += chunk
            if len(gathered) >= _PIECE_BYTES:
                yield bytes(gathered)
                gathered.clear()
    except ClientDisconnect:
        if gathered:
            yield bytes(gathered)
        raise
    if gathered:
        yield bytes(gathered)


async def _chunks(request: Request, silence: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            with fail_after(silence):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise ClientDisconnect from None
        yield chunk


async def receive_form(
    request: Request, sink: Sink, *, file_field: str, silence: float = SILENCE_SECONDS
) -> Form:
    """A multipart form whose one file goes to `sink`; InputError for what is no such form."""
    parser = _FormParser(_boundary(request), file_field)
    async for piece in pieces(request, silence):
        content = parser.feed(piece)
        if content:
            await to_thread.run_sync(sink.write, content)
    return parser.finish()


def fields_of(shape: type[Fields], values: Mapping[str, Any]) -> Fields:
    """Texts of a form or of headers in their shape; all that is wrong is told as of a JSON body."""
    try:
        return shape.model_validate(dict(values))
    except ValidationError as error:
        problems = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(problems) from error


async def in_thread_to_the_end(work: Callable[[], object]) -> None:
    """Work that has to be done even where the request was cancelled."""
    with CancelScope(shield=True):
        await to_thread.run_sync(work)


class _FormParser:
    """Sorts the parts of a form: fields are kept, the bytes of the file are handed on."""

    def __init__(self, boundary: bytes, file_field: str) -> None:
        self._form, self._file_field = Form(), file_field
        self._header, self._value = b"", b""
        self._disposition = b""
        self._name, self._is_file, self._ended = "", False, False
        self._field, self._content = bytearray(), bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part,
                "on_header_field": self._on_header,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: bytes) -> bytes:
        """The bytes of the file in this piece of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _not_valid(f"it is no multipart form ({error})") from error
        content = bytes(self._content)
        self._content.clear()
        return content

    def finish(self) -> Form:
        if not self._ended:
            raise _not_valid("it ends in the middle")
        if self._form.filename is None:
            raise _not_valid("it has no file", param=self._file_field)
        return self._form

    def _on_part(self) -> None:
        self._header = self._value = self._disposition = b""
        self._field.clear()

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == self._file_field
        if self._is_file:
            if self._form.filename is not None:
                raise _not_valid("it has two files", param=self._file_field)
            self._form.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        elif len(self._form.fields) >= _MOST_FIELDS:
            raise _not_valid("it has too many fields")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._content += data[start:end]
            return
        self._field += data[start:end]
        if len(self._field) > _MOST_FIELD_BYTES:
            raise _not_valid("it has a field that is too long", param=self._name)

    def _on_part_end(self) -> None:
        if not self._is_file:
            self._form.fields[self._name] = self._field.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind.lower() != b"multipart/form-data" or not options.get(b"boundary"):
        raise _not_valid("its Content-Type is not multipart/form-data with a boundary")
    return options[b"boundary"]


def _not_valid(reason: str, param: str | None = None) -> InputError:
    return InputError(
        f"The form cannot be read: {reason}; nothing was kept.",
        hint="Send multipart/form-data with one file in it.",
        code="invalid_form",
        param=param,
        reason=reason,
    )
