"""Turns share records into what the templates show; every string stays plain text, every link is http or https."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.share.v1 import share_pb2 as sharepb

from services.chassis.names import parse_id

MAX_TITLE_LENGTH = 90  # search engines and link previews cut longer ones
MAX_DESCRIPTION_LENGTH = 160  # the same
UNTITLED = "A shared picture"


@dataclass(frozen=True)
class Card:
    """A share as a tile of a list."""

    path: str
    picture: str
    text: str


@dataclass(frozen=True)
class SharePage:
    """A share as its own page."""

    path: str
    title: str
    description: str
    picture: str
    original: str
    prompt: str
    style: str
    model: str
    made: datetime

    @property
    def made_in_words(self) -> str:
        """The day it was made, for example 5 November 2026."""
        return f"{self.made.day} {self.made:%B %Y}"


def web_url(uri: str) -> str:
    """The URL, or an empty string when it is not one of the web: a page must not link to javascript: or data:."""
    return uri if uri.lower().startswith(("http://", "https://")) else ""


def shortened(text: str, length: int) -> str:
    """The text on one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def card(share: sharepb.Share) -> Card:
    """Render a tile."""
    text = shortened(share.prompt or share.seo.title_en, MAX_TITLE_LENGTH) or UNTITLED
    return Card(path_of(share), web_url(share.generated_uri), text)


def cards(shares: Iterable[sharepb.Share]) -> list[Card]:
    """Render tiles, in order."""
    return [card(share) for share in shares]


def share_page(share: sharepb.Share) -> SharePage:
    """Render a share's own page."""
    return SharePage(
        path=path_of(share),
        title=_title(share),
        description=shortened(share.seo.description_en or share.prompt, MAX_DESCRIPTION_LENGTH) or UNTITLED,
        picture=web_url(share.generated_uri),
        original=web_url(share.original_uri),
        prompt=share.prompt,
        style="" if share.style == "default" else share.style,
        model=share.seo.model_label or share.model,
        made=_moment(share.generate_time if share.HasField("generate_time") else share.create_time),
    )


def path_of(share: sharepb.Share) -> str:
    """The path of a share's page, /share/{id}."""
    return f"/share/{parse_id('shares', share.name)}"


def _title(share: sharepb.Share) -> str:
    return shortened(share.seo.title_en or share.prompt, MAX_TITLE_LENGTH) or UNTITLED


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
