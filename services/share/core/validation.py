"""Validates what callers send: every bound of a share and of a list, and the error sentence when it is exceeded."""

import re
from collections.abc import Iterable
from dataclasses import replace

from services.chassis.errors import invalid_field
from services.chassis.names import is_key
from services.chassis.outbound import WEB_URL
from services.share import seo
from services.share.model import Facet, NewShare, Query, Seo, Share, ShareRecord

MAX_URI_LENGTH = 2048  # what browsers and caches agree to carry
MAX_PROMPT_LENGTH = 10_000  # above the longest prompt a model takes
MAX_NAME_LENGTH = 200  # a style or a model; also keeps the indexes' entries small
MAX_TAGS, MAX_TAG_LENGTH = 20, 100  # docs/rest.md#making-shares; longer ones are no tags
MAX_PAGE_SIZE = 100  # a page is one message and one screen
MAX_SKIP = 10_000  # each row that is left out is read; cursors cost nothing
EPOCH_MS = 946_684_800_000  # 2000-01-01: pictures that claim to be older have a broken clock
SKEW_MS = 5_000  # tolerated difference of two machines' clocks
MAX_SEO_LENGTH = 400  # of a title, a description or a key word, all of which we cut far below
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
DEFAULT_STYLE = "default"
BROKEN = re.compile(r"[\0\ud800-\udfff]")  # NUL and halves of a character: no database and no wire carries them


def label(field: str) -> str:
    """A field's name without its message, for clients of REST."""
    return field.rpartition(".")[2]


def new_share(given: NewShare, now_ms: int) -> NewShare:
    """A new share, validated: texts within their bounds, tags bounded, style and time filled in.

    Raises:
        InvalidArgument: with the invalid field.
    """
    if not given.generated_uri:
        raise invalid_field("share.generated_uri", "generated_uri is required: the URL of the picture to share.")
    return replace(
        given,
        generated_uri=uri("share.generated_uri", given.generated_uri),
        original_uri=given.original_uri and uri("share.original_uri", given.original_uri),
        prompt=text("share.prompt", given.prompt, MAX_PROMPT_LENGTH),
        style=text("share.style", given.style.strip(), MAX_NAME_LENGTH) or DEFAULT_STYLE,
        model=text("share.model", given.model.strip(), MAX_NAME_LENGTH),
        # Clamped: a client whose clock is ahead must not lead the latest shares until that time.
        generate_ms=min(given.generate_ms, now_ms) if given.generate_ms >= EPOCH_MS else now_ms,
        seo_tags=tags("share.seo_tags", given.seo_tags),
    )


def record(given: ShareRecord, now_ms: int) -> ShareRecord:
    """A record of another installation, validated by the bounds of a new share. Its pictures are keys or URLs.

    Raises:
        InvalidArgument: with the invalid field.
    """
    share = given.share
    if not share.generated_ref:
        raise invalid_field("generated_uri", "generated_uri is required: the URL of the picture that is shared.")
    if given.token_digest and not DIGEST.fullmatch(given.token_digest):
        raise invalid_field("token_digest", "token_digest must be a SHA-256 in hex.")
    style, model = (
        text("style", share.style.strip(), MAX_NAME_LENGTH),
        text("model", share.model.strip(), MAX_NAME_LENGTH),
    )
    create_ms = past("create_time", share.create_ms, now_ms)
    cleaned = replace(
        share,
        generated_ref=picture("generated_uri", share.generated_ref),
        original_ref=share.original_ref and picture("original_uri", share.original_ref),
        prompt=text("prompt", share.prompt, MAX_PROMPT_LENGTH),
        style=style or DEFAULT_STYLE,
        model=model,
        # As for a new share: a picture is not made after it was shared, else it would lead the latest.
        generate_ms=min(share.generate_ms, create_ms) if share.generate_ms >= EPOCH_MS else create_ms,
        seo_tags=tags("seo_tags", share.seo_tags),
        publish_ms=past("publish_time", share.publish_ms, now_ms) if share.publish_ms else 0,
    )
    return ShareRecord(replace(cleaned, seo=words(cleaned)), given.token_digest)


def past(field: str, value: int, now_ms: int) -> int:
    """A time in milliseconds that lies between EPOCH_MS and now."""
    if not EPOCH_MS <= value <= now_ms + SKEW_MS:
        raise invalid_field(field, f"{field} must be given, not before the year 2000 and not in the future.")
    return value


def picture(field: str, ref: str) -> str:
    """A key of ours, or a URL."""
    return ref if is_key(ref) else uri(field, ref)


def words(share: Share) -> Seo:
    """The SEO texts of a record, made anew when it has none."""
    seo_texts = share.seo
    if not seo_texts.title_ja:
        label = seo.label(share.model)
        return seo.describe(share.prompt, share.style, label, share.seo_tags)
    for name in ("model_label", "title_ja", "title_en", "description_ja", "description_en"):
        text(f"seo.{name}", getattr(seo_texts, name), MAX_SEO_LENGTH)
    for name in ("keywords_ja", "keywords_en"):
        for each in getattr(seo_texts, name):
            text(f"seo.{name}", each, MAX_SEO_LENGTH)
        if len(getattr(seo_texts, name)) > MAX_TAGS:
            raise invalid_field(f"seo.{name}", f"At most {MAX_TAGS} {name} are allowed.")
    return seo_texts


def uri(field: str, value: str) -> str:
    """An absolute http or https URL."""
    if len(value) > MAX_URI_LENGTH or not WEB_URL.fullmatch(value):
        name = label(field)
        raise invalid_field(
            field, f"{name} must be an http or https URL with a host, at most {MAX_URI_LENGTH} characters."
        )
    return value


def text(field: str, value: str, limit: int) -> str:
    """A text that can be stored. Raises InvalidArgument."""
    if len(value) > limit:
        raise invalid_field(field, f"{label(field)} is too long: at most {limit} characters are allowed.")
    if BROKEN.search(value):
        raise invalid_field(
            field, f"{label(field)} holds a NUL or half a character, which cannot be stored. Remove it."
        )
    return value


def tags(field: str, values: Iterable[str]) -> tuple[str, ...]:
    """The first tags that are not blank, each once."""
    kept = list(dict.fromkeys(filter(None, map(str.strip, values))))[:MAX_TAGS]
    return tuple(text(field, tag, MAX_TAG_LENGTH) for tag in kept)


def skip(value: int) -> int:
    """The number of shares to skip."""
    if not 0 <= value <= MAX_SKIP:
        raise invalid_field("skip", f"Between 0 and {MAX_SKIP} shares can be left out. Follow the pages instead.")
    return value


def block(value: int) -> None:
    """Refuse a negative block."""
    if value < 0:
        raise invalid_field("block", "block must not be negative.")


def facet(query: Query) -> tuple[Facet, str]:
    """The facet and value of a query; at most one may be given."""
    given = [(each, value) for each in Facet if each and (value := getattr(query, each).strip())]
    if len(given) > 1:
        raise invalid_field(given[1][0], "Give at most one of style, model and tag.")
    for name, value in given:
        text(name, value, MAX_NAME_LENGTH)
    return given[0] if given else (Facet.NONE, "")


def token(value: str) -> None:
    """Refuse an empty token."""
    if not value:
        raise invalid_field("token", "A token is required: the one that came with the share when it was made.")
