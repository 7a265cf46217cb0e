"""Makes the SEO texts of a share, in Japanese and English, from its prompt, style and model."""

import re
import unicodedata
from collections.abc import Iterable

from catalogue import named
from services.chassis.text import cut, one_line, words
from services.share.model import Seo

MAX_KEYWORDS = 20  # docs/rest.md#making-shares
MAX_KEYWORD_LENGTH = 100  # as a tag
MAX_DESCRIPTION_LENGTH = 160  # what search engines show
MAX_SUBJECT_LENGTH = 40  # leaves room for style and model in a title of about 80 characters
MAX_LABEL_LENGTH = 40  # as above
MAX_READ_LENGTH = 2000  # later words of a prompt are details
MAX_TOKENS, MAX_TOKEN_LENGTH = 10, 30  # half of the key words; longer runs are Japanese sentences, cut to a phrase

NO_LABEL = "AI"
NO_STYLE = "default"
WORDS_JA = ("AI画像生成", "AIイラスト", "画像生成AI", "かわいい画像")
WORDS_EN = ("AI image", "AI art", "AI image generator", "kawaii image")
SMALL_WORDS = frozenset(
    ("a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with")
)
INSIDE = "'-"  # between two letters they are part of a word


def label(model: str) -> str:
    """The model's name for people: the catalogue's, or the last path segment of one that is not in it."""
    segment = model.rsplit("/", 1)[-1]
    words = " ".join(word[:1].upper() + word[1:] for word in re.split(r"[-_\s]+", segment))
    known = named(segment)
    return known.display_name if known else clip(words, MAX_LABEL_LENGTH) or NO_LABEL


def tags_ja(prompt: str, style: str, label: str) -> tuple[str, ...]:
    """The tags of a share that was created without any."""
    return unique((*WORDS_JA, *_styled(style, "{}風"), label, *tokens(prompt)))


def describe(prompt: str, style: str, label: str, tags: Iterable[str]) -> Seo:
    """Titles, descriptions of at most 160 characters and at most 20 different key words per language."""
    subject, telling, styles = clip(prompt, MAX_SUBJECT_LENGTH), tokens(prompt), _styled(style, "{}")
    given = (*tags, *styles, label, *telling)
    return Seo(
        model_label=label,
        title_ja=_joined(subject, *_styled(style, "{}風のAI画像"), f"{label}で生成"),
        title_en=_joined(subject, *_styled(style, "{} style AI image"), f"made with {label}"),
        description_ja=clip(f"{label}で生成したAI画像です。{prompt}", MAX_DESCRIPTION_LENGTH),
        description_en=clip(f"An AI image made with {label}. {prompt}", MAX_DESCRIPTION_LENGTH),
        keywords_ja=unique((*given, *WORDS_JA)),
        keywords_en=unique(filter(str.isascii, (*given, *WORDS_EN))),
    )


def tokens(prompt: str) -> tuple[str, ...]:
    """The first telling words of a prompt."""
    found = (cut(word, MAX_TOKEN_LENGTH) for word in words(prompt[:MAX_READ_LENGTH], INSIDE))
    return unique(word for word in found if len(word) > 1 and word.lower() not in SMALL_WORDS)[:MAX_TOKENS]


def unique(given: Iterable[str]) -> tuple[str, ...]:
    """The first key words that differ by more than their case."""
    kept: dict[str, str] = {}
    for word in given:
        line = clip(word, MAX_KEYWORD_LENGTH)
        kept.setdefault(line.casefold(), line)
    return tuple(filter(None, kept.values()))[:MAX_KEYWORDS]


def clip(text: str, length: int) -> str:
    """The text on one line without what cannot be seen, cut with an ellipsis when it is longer."""
    line = one_line("".join(" " if unicodedata.category(each) == "Cc" else each for each in text))
    return line if len(line) <= length else f"{cut(line, length - 1)}…"


def _styled(style: str, form: str) -> tuple[str, ...]:
    name = clip(style, MAX_LABEL_LENGTH)
    return (form.format(name),) if name and name.casefold() != NO_STYLE else ()


def _joined(*parts: str) -> str:
    return " | ".join(filter(None, parts))
