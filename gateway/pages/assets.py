"""Serves the pages' own files from memory, by a fixed table of names, so that no path can lead elsewhere."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway.rest.responses import conditions
from services.chassis import preconditions
from services.chassis.errors import NotFound

FOLDER = Path(__file__).parent / "static"
CACHE_CONTROL = "public, max-age=3600"  # an upgrade reaches every browser within the hour
SCRIPT, STYLE, ICON = "text/javascript; charset=utf-8", "text/css; charset=utf-8", "image/svg+xml"
NAMES = {
    "app.js": SCRIPT,
    "api.js": SCRIPT,
    "job.js": SCRIPT,
    "easel.js": SCRIPT,
    "latest.js": SCRIPT,
    "gallery.js": SCRIPT,
    "kawaii.css": STYLE,
    "icon.svg": ICON,
}


@dataclass(frozen=True)
class Asset:
    """A file's bytes, and the headers it is sent with."""

    content: bytes
    media_type: str
    etag: str

    @property
    def headers(self) -> dict[str, str]:
        """Validators and lifetime, the same on 200 and 304."""
        return {"ETag": self.etag, "Cache-Control": CACHE_CONTROL}

    def answer(self, request: Request) -> Response:
        """The bytes, or 304 when the browser holds them already."""
        if status := preconditions.check(request.method, conditions(request), self.etag):
            return Response(status_code=status, headers=self.headers)
        return Response(self.content, media_type=self.media_type, headers=self.headers)


def _read(name: str, media_type: str) -> Asset:
    content = (FOLDER / name).read_bytes()
    return Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


ASSETS = {name: _read(name, media_type) for name, media_type in NAMES.items()}


def find(name: str) -> Asset:
    """The file of this name.

    Raises:
        NotFound: it is not in the table.
    """
    if name not in ASSETS:
        raise NotFound("There is no such file.")
    return ASSETS[name]
