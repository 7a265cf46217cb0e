"""Two hundred strings that break careless pages: wherever a share holds one, browsers and crawlers see text only."""

import random
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import orjson
import pytest
from kawaii.share.v1 import share_pb2 as sharepb

from services.share.seo import clip, describe

Doubles = Any  # of tests/gateway/conftest.py
Browse = Callable[..., Awaitable[Any]]
PICTURE = "https://site.test/files/generated/gen_1.png"
KNOWN = (
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "{{ config.__class__ }}${7*7}#{7*7}<%= 7*7 %>",
    "line\u2028break\u2029here",
    "\u202egnp.exe right to left",
    "👩‍👩‍👧‍👦 and a\u0301 and &amp; and &#60;b&#62;",
    "]]><!-- --><svg onload=alert(1)>",
    "<![CDATA[<url><loc>x</loc></url>]]>",
    "--><script>alert(1)</script><!--",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "</textarea></style></noscript></template></svg><b>",
    "javascript:alert(1)//",
    "\\u003c/script\\u003e",
    '{"@type": "Thing"}, "x": "',
    "<a href=//evil.test>x</a>",
    "&lt;script&gt;&quot;&apos;&nbsp;&#x3c;",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "<\uff53cript>",
    "a\tb\x0bc\x1fd\x7fe",
    "\ufeff\u200b\u2066x\u2069",
)
PARTS = (
    "<", ">", "&", '"', "'", "/", "=", "script", "</script>", "<!--", "-->", "]]>", "style=", " onload=x ", "{{", "}}",
    "{%", "%}", "\\", "\u2028", "\u202e", "&#60;", "猫", "\t", " ", "javascript:", "</title>", "<img src=x>", "${x}",
)  # fmt: skip


def two_hundred() -> list[str]:
    """The known ones, and random ones of dangerous parts, the same in each run."""
    chance = random.Random(5)
    mixed = ("".join(chance.choices(PARTS, k=chance.randint(1, 12))) for _ in range(200 - len(KNOWN)))
    return [*KNOWN, *mixed]


def holding(doubles: Doubles, words: str) -> sharepb.Share:
    """A share that holds the words wherever it can, with what the share service writes of them."""
    seo = describe(words, words, clip(words, 40), (words,))
    written = sharepb.Share.Seo(
        model_label=seo.model_label,
        title_ja=seo.title_ja,
        title_en=seo.title_en,
        description_ja=seo.description_ja,
        description_en=seo.description_en,
        keywords_ja=seo.keywords_ja,
        keywords_en=seo.keywords_en,
    )
    doubles.share.rows.clear()
    texts = {"prompt": words, "style": words, "model": words, "seo_tags": [words]}
    share: sharepb.Share = doubles.share.add("share_1", generated_uri=PICTURE, seo=written, **texts)
    return share


def shape(page: Any) -> list[tuple[str, list[str]]]:
    """The elements of a page and the names of their attributes, without those that say nothing to a browser."""
    return [(tag, list(attributes)) for tag, attributes in page.elements]


@pytest.mark.parametrize("path", ["/share/share_1", "/ja/share/share_1", "/zh/share/share_1", "/share?id=share_1"])
async def test_two_hundred_hostile_strings_are_text_on_the_page_of_their_share(
    browse: Browse, doubles: Doubles, path: str
) -> None:
    holding(doubles, "harmless")
    plain = shape(await browse(path))

    for words in two_hundred():
        holding(doubles, words)
        page = await browse(path)
        blank = not words.strip()
        assert page.response.status_code == 200
        assert blank or shape(page) == plain, words
        assert page.text("blockquote") == ("" if blank else words.strip()), words
        story = orjson.loads(page.text("script"))
        assert story["contentUrl"] == PICTURE
        assert story["name"] == page.text("h1") == page.meta("og:title") == page.meta("twitter:title")


async def test_two_hundred_hostile_strings_are_text_in_the_lists(browse: Browse, doubles: Doubles) -> None:
    holding(doubles, "harmless")
    plain = {path: shape(await browse(path)) for path in ("/", "/share")}

    for words in two_hundred():
        holding(doubles, words)
        for path, elements in plain.items():
            page = await browse(path)
            assert shape(page) == elements, words
            assert " ".join(words.split())[:40].rstrip() in page.text("span"), words


async def test_the_api_gives_hostile_strings_back_as_they_came(client: httpx.AsyncClient, doubles: Doubles) -> None:
    for words in two_hundred():
        holding(doubles, words)
        response = await client.get("/api/share/share_1", params={"not": words})
        assert response.headers["content-type"] == "application/json"
        assert response.json()["data"]["prompt"] == words


async def test_the_sitemap_is_well_formed_whatever_shares_hold(client: httpx.AsyncClient, doubles: Doubles) -> None:
    for words in two_hundred():
        holding(doubles, words)
        response = await client.get("/api/sitemap-share")
        assert len(ET.fromstring(response.content)) == 1  # noqa: S314 - our own answer
