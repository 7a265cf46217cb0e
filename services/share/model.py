"""The model of shares and of their lists: frozen dataclasses and enums, without protobuf and SQL."""

from dataclasses import dataclass
from enum import IntFlag, StrEnum

NEWEST = 2**63 - 1  # above every sequence: a list that begins below it begins at its start
FRAME_BYTES = 4096  # above what the short fields, titles and descriptions of a share take


class Visibility(IntFlag):
    """The flags that decide whether a list shows a share; one number, so that one index serves every policy."""

    HIDDEN = 0
    PUBLISHED = 1
    TEXT = 2
    """Made from text alone: it has no original."""
    UNLISTED = 4
    """In no list until it is published; readable by its link."""


class Policy(StrEnum):
    """Which shares the lists show (docs/rest.md#share-lists); reading one by id is always allowed."""

    TEXT_TO_IMAGE = "text_to_image"
    PUBLISHED = "published"
    PUBLISHED_OR_TEXT = "published_or_text"
    ALL = "all"


EVERY = tuple(map(Visibility, range(4)))
SHOWN: dict[Policy, tuple[Visibility, ...]] = {
    Policy.TEXT_TO_IMAGE: tuple(each for each in EVERY if Visibility.TEXT in each),
    Policy.PUBLISHED: tuple(each for each in EVERY if Visibility.PUBLISHED in each),
    Policy.PUBLISHED_OR_TEXT: tuple(each for each in EVERY if each),
    Policy.ALL: EVERY,
}


class Facet(StrEnum):
    """The field by which a list may be filtered."""

    NONE = ""
    STYLE = "style"
    MODEL = "model"
    TAG = "tag"


@dataclass(frozen=True)
class View:
    """A list: the shares that the policy shows, filtered by one value of one facet."""

    policy: Policy
    facet: Facet = Facet.NONE
    value: str = ""

    def __str__(self) -> str:
        return f"{self.policy}:{self.facet}:{self.value}"


@dataclass(frozen=True)
class Query:
    """A request for a page of the gallery, unchecked."""

    page_size: int = 0
    page_token: str = ""
    skip: int = 0
    style: str = ""
    model: str = ""
    tag: str = ""


@dataclass(frozen=True)
class NewShare:
    """A share to create; URIs are absolute, generate_ms is 0 when unknown."""

    generated_uri: str
    original_uri: str = ""
    prompt: str = ""
    style: str = ""
    model: str = ""
    generate_ms: int = 0
    stored: bool = False
    seo_tags: tuple[str, ...] = ()
    unlisted: bool = False


@dataclass(frozen=True)
class Seo:
    """SEO texts in Japanese and English."""

    model_label: str
    title_ja: str
    title_en: str
    description_ja: str
    description_en: str
    keywords_ja: tuple[str, ...]
    keywords_en: tuple[str, ...]


@dataclass(frozen=True)
class Share:
    """One shared picture. A ref is an object key of ours, or the URL of a picture elsewhere; times are epoch ms.

    The sequence is the order of the lists, 0 until it is stored.
    """

    id: str
    generated_ref: str
    original_ref: str
    prompt: str
    style: str
    model: str
    generate_ms: int
    stored: bool
    seo_tags: tuple[str, ...]
    seo: Seo
    create_ms: int
    sequence: int = 0
    publish_ms: int = 0
    unlisted: bool = False

    @property
    def visibility(self) -> Visibility:
        """The flags of the share now."""
        return self._text | Visibility.PUBLISHED if self.published else self.visibility_before

    @property
    def visibility_before(self) -> Visibility:
        """The flags that the share had before its publication."""
        return self._text | Visibility.UNLISTED if self.unlisted else self._text

    @property
    def _text(self) -> Visibility:
        return Visibility.HIDDEN if self.original_ref else Visibility.TEXT

    @property
    def published(self) -> bool:
        """True once the share is published."""
        return self.publish_ms > 0

    @property
    def weight(self) -> int:
        """Roughly the bytes of the share in a response."""
        texts = (self.prompt, self.generated_ref, self.original_ref, self.style, self.model)
        words = (*self.seo_tags, *self.seo.keywords_ja, *self.seo.keywords_en)
        return sum(map(bytes_of, (*texts, *words))) + FRAME_BYTES


def bytes_of(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


@dataclass(frozen=True)
class SitemapLink:
    """An entry of a sitemap: a listed share and its last change."""

    id: str
    update_ms: int


@dataclass(frozen=True)
class SitemapLinks:
    """The sitemap entries of one block, and the number of blocks."""

    links: tuple[SitemapLink, ...]
    blocks: int


@dataclass(frozen=True)
class SharePage:
    """A page of a list, newest first; the token is empty at the end."""

    shares: tuple[Share, ...]
    next_token: str
    total: int


@dataclass(frozen=True)
class ShareRecord:
    """An exported share with the SHA-256 in hex of its token; empty when there is none."""

    share: Share
    token_digest: str


@dataclass(frozen=True)
class ShareRecordPage:
    """A page of records in the order of their sequence; the token is empty at the end."""

    records: tuple[ShareRecord, ...]
    next_token: str


@dataclass(frozen=True)
class Stats:
    """Counts over all shares, and the time of counting."""

    total: int
    stored: int
    published: int
    update_ms: int
