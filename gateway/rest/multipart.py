"""Takes the one file out of a multipart form while it arrives, so that no upload is ever held whole.

python-multipart's push parser does the reading; this file sets its bounds and says what a form must hold.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from gateway.rest import errors
from services.chassis.errors import InvalidArgument, invalid_field
from services.chassis.text import cut, one_line

if TYPE_CHECKING:  # the parser's library names this type for type checkers only
    from python_multipart.multipart import MultipartCallbacks

FIELD = "file"
CHUNK_BYTES = 256 * 1024  # the smallest size that costs nothing over gRPC (docs/storage.md#chunks)
MAX_PARTS = 20  # FE-B sends two; each part costs a little even when it is ignored
MAX_HEADERS = 8  # browsers send two a part
MAX_HEADER_BYTES = 4096  # room for the longest file name a browser sends
MAX_NAME_LENGTH = 255  # of a file name, as file systems have it
MAX_TEXT_BYTES = 4096  # of a field beside the file: titles and switches


@dataclass(frozen=True)
class IncomingFile:
    """A file on its way in: the client's name for it, its bytes in chunks as they arrive, and the fields beside it.

    Fields may stand behind the file, so they are complete only once the chunks have ended.
    """

    name: str
    chunks: AsyncIterator[bytes]
    texts: Mapping[str, str]


class FileField:
    """What the parser has seen so far of the form; the methods are its callbacks."""

    def __init__(self, max_bytes: int) -> None:
        self.name = ""
        self.data = bytearray()
        self.texts: dict[str, str] = {}
        self._text_name, self._text = "", bytearray()
        self._max_bytes = max_bytes
        self._size = self._fields = self._parts = 0
        self._taking = self._found = self._ended = False
        self._header = (bytearray(), bytearray())
        self._disposition = b""

    def callbacks(self) -> "MultipartCallbacks":
        """The methods under the parser's names."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._read_header_name,
            "on_header_value": self._read_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._read_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def take(self, size: int) -> bytes:
        """Remove and return at most so many bytes of the file."""
        chunk = bytes(self.data[:size])
        del self.data[:size]
        return chunk

    def check(self) -> None:
        """Say whether the form, now that all of it was read, holds what it must.

        Raises:
            InvalidArgument: it broke off, has no file, or the file is empty.
        """
        if not self._ended:
            raise InvalidArgument("The form ends in the middle. Send it again.")
        if not self._found:
            raise invalid_field(FIELD, f"The form has no field `{FIELD}` with a file.")
        if not self._size:
            raise invalid_field(FIELD, "The file is empty.")

    def _begin_part(self) -> None:
        self._taking, self._disposition, self._text_name, self._text = False, b"", "", bytearray()
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidArgument(f"The form has more than {MAX_PARTS} parts.")

    def _read_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _read_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") == FIELD.encode():
            self._begin_field(options)
        elif b"filename" not in options:
            self._text_name = options.get(b"name", b"").decode(errors="replace")

    def _begin_field(self, options: Mapping[bytes, bytes]) -> None:
        """Take the one field of the name; of two, nobody can tell which is meant."""
        self._fields += 1
        if self._fields > 1:
            raise invalid_field(FIELD, f"The form has more than one field `{FIELD}`. Send one file at a time.")
        if b"filename" in options:
            self._taking, self._found, self.name = True, True, display_name(options[b"filename"])

    def _read_data(self, data: bytes, start: int, end: int) -> None:
        if self._taking:
            self._size += end - start
            if self._size > self._max_bytes:
                raise errors.too_large(self._max_bytes)
            self.data += memoryview(data)[start:end]
        elif self._text_name:
            self._text += memoryview(data)[start:end]
            if len(self._text) > MAX_TEXT_BYTES:
                raise InvalidArgument(f"A field of the form has more than {MAX_TEXT_BYTES} bytes.")

    def _end_part(self) -> None:
        if self._text_name:
            self.texts[self._text_name] = self._text.decode(errors="replace")

    def _end(self) -> None:
        self._ended = True


def display_name(raw: bytes) -> str:
    """A client's file name for showing: the last segment, on one line."""
    return cut(one_line(raw.decode(errors="replace").replace("\\", "/").rpartition("/")[2]), MAX_NAME_LENGTH)


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart form.

    Raises:
        InvalidArgument: it is no multipart form, or names no boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidArgument(f"Send the picture as multipart/form-data, in the field `{FIELD}`.")
    return options[b"boundary"]


async def incoming_file(request: Request, max_bytes: int) -> IncomingFile:
    """Read the form up to the first bytes of its file.

    The chunks raise when the rest of the form is wrong, so whoever takes them keeps nothing before their end.

    Raises:
        InvalidArgument: the form is broken, or holds no file, an empty one, two, or one larger than max_bytes.
    """
    field = FileField(max_bytes)
    form = read(field, request)
    async for _ in form:
        if field.data:
            break
    return IncomingFile(field.name, chunks(field, form), field.texts)


async def read(field: FileField, request: Request) -> AsyncIterator[None]:
    """Feed the parser, pausing after each piece that arrived."""
    with readable():
        boundary = boundary_of(request.headers.get("content-type", ""))
        parser = MultipartParser(
            boundary, field.callbacks(), max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER_BYTES
        )
    async for piece in request.stream():
        with readable():
            parser.write(piece)
        yield
    field.check()


async def chunks(field: FileField, form: AsyncIterator[None]) -> AsyncIterator[bytes]:
    """The file's bytes in chunks of CHUNK_BYTES, the last one shorter."""
    async for _ in form:
        while len(field.data) >= CHUNK_BYTES:
            yield field.take(CHUNK_BYTES)
    while field.data:
        yield field.take(CHUNK_BYTES)


@contextmanager
def readable() -> Iterator[None]:
    """Turn the parser's complaints into ours."""
    try:
        yield
    except FormParserError as error:
        raise InvalidArgument("The form is not well-formed multipart/form-data.") from error
