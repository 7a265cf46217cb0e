"""Renders the built-in pages: share records become what the templates show, and the templates HTML.

Every string stays plain text, every link is http or https, and the pages' policy lets nothing run but our own scripts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from kawaii.share.v1 import share_pb2 as sharepb
from starlette.responses import HTMLResponse

from services.chassis.names import parse_id

LOCALES = {"ja": "ja_JP", "en": "en_US", "zh": "zh_CN"}
"""Open Graph's name of each language."""
DEFAULT_LANGUAGE = "en"

# Pictures may lie on any host; everything else is our own.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src * data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'self'"
)
HTML_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-cache",  # lists change; going back still shows the page as it was
}

MAX_TITLE_LENGTH = 90  # search engines and link previews cut longer ones
MAX_DESCRIPTION_LENGTH = 160  # the same
MAX_SUBJECT_LENGTH = 60  # leaves room for the model in a title
UNTITLED = "A shared picture"


def alternates(share_id: str) -> dict[str, str]:
    """The path of a share's page by the value of hreflang; /en/share/{id} is the seed's."""
    places = {language: f"/{language}/share/{share_id}" for language in LOCALES}
    return {**places, "x-default": f"/share/{share_id}"}


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "html"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def render(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Answer with a template of html/; context values are text, never markup."""
    html = _environment.get_template(template).render(context)
    return HTMLResponse(html, status, HTML_HEADERS)


@dataclass(frozen=True)
class Card:
    """A share as a tile of a list."""

    path: str
    picture: str
    text: str


class Words(NamedTuple):
    """Title, description and keywords of a share in one language."""

    title: str
    description: str
    keywords: Sequence[str]


@dataclass(frozen=True)
class SharePage:
    """A share as its own page."""

    path: str
    language: str
    alternates: dict[str, str]
    title: str
    description: str
    picture: str
    original: str
    prompt: str
    style: str
    model: str
    made: datetime
    unlisted: bool = False
    keywords: tuple[str, ...] = ()

    @property
    def locale(self) -> str:
        """Open Graph's name of the page's language."""
        return LOCALES[self.language]

    @property
    def other_locales(self) -> list[str]:
        """Open Graph's names of the other languages."""
        return [locale for locale in LOCALES.values() if locale != self.locale]

    def structured(self, origin: str) -> dict[str, object]:
        """The structured data for search engines (schema.org, JSON-LD)."""
        return {
            "@context": "https://schema.org",
            "@type": "ImageObject",
            "name": self.title,
            "description": self.description,
            "contentUrl": self.picture,
            "url": f"{origin}{self.path}",
            "inLanguage": self.language,
            "datePublished": self.made.isoformat(),
            "keywords": ", ".join(self.keywords),
            "creditText": self.model,
        }

    @property
    def made_in_words(self) -> str:
        """The day it was made, for example 5 November 2026."""
        return f"{self.made.day} {self.made:%B %Y}"


def _web_url(uri: str) -> str:
    """The URL, or an empty string when it is not one of the web: a page must not link to javascript: or data:."""
    return uri if uri.lower().startswith(("http://", "https://")) else ""


def _shortened(text: str, length: int) -> str:
    """The text on one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def card(share: sharepb.Share) -> Card:
    """Render a tile."""
    text = _shortened(share.prompt or share.seo.title_en, MAX_TITLE_LENGTH) or UNTITLED
    return Card(path_of(share), _web_url(share.generated_uri), text)


def cards(shares: Iterable[sharepb.Share]) -> list[Card]:
    """Render tiles, in order."""
    return [card(share) for share in shares]


def share_page(share: sharepb.Share, language: str = "") -> SharePage:
    """Render a share's own page, in the language that its path names, or by default."""
    places = alternates(parse_id("shares", share.name))
    spoken = language or DEFAULT_LANGUAGE
    words = WORDS[spoken](share)
    return SharePage(
        path=places[language or "x-default"],
        language=spoken,
        alternates=places,
        title=_shortened(words.title or share.prompt, MAX_TITLE_LENGTH) or UNTITLED,
        description=_shortened(words.description or share.prompt, MAX_DESCRIPTION_LENGTH) or UNTITLED,
        keywords=tuple(words.keywords),
        picture=_web_url(share.generated_uri),
        original=_web_url(share.original_uri),
        prompt=share.prompt,
        style="" if share.style == "default" else share.style,
        model=share.seo.model_label or share.model,
        unlisted=share.unlisted,
        made=_moment(share.generate_time if share.HasField("generate_time") else share.create_time),
    )


def path_of(share: sharepb.Share) -> str:
    """The path of a share's page, /share/{id}."""
    return f"/share/{parse_id('shares', share.name)}"


def english(share: sharepb.Share) -> Words:
    """The words that the share service wrote in English."""
    return Words(share.seo.title_en, share.seo.description_en, share.seo.keywords_en)


def japanese(share: sharepb.Share) -> Words:
    """The words that the share service wrote in Japanese."""
    return Words(share.seo.title_ja, share.seo.description_ja, share.seo.keywords_ja)


def chinese(share: sharepb.Share) -> Words:
    """The maker's own words: the share service writes no Chinese, and many prompts are Chinese already."""
    title = " | ".join(filter(None, (_shortened(share.prompt, MAX_SUBJECT_LENGTH), share.seo.model_label)))
    return Words(title, share.prompt, share.seo_tags)


WORDS: dict[str, Callable[[sharepb.Share], Words]] = {"ja": japanese, "en": english, "zh": chinese}


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
