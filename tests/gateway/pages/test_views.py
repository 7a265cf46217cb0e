"""The pages as a browser receives them: words, links, previews, and nothing that a stranger's words could run."""

import random
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import orjson
import pytest
from kawaii.share.v1 import share_pb2 as sharepb

from catalogue import of_family
from services.share.seo import clip, describe

Doubles = Any  # of tests/gateway/conftest.py
Browse = Callable[..., Awaitable[Any]]
PICTURE = "https://site.test/files/generated/gen_1.png"
EVERY_PAGE = ("/", "/share", "/share/share_1", "/ja/share/share_1", "/share?id=share_1", "/share/share_none")


async def test_start_page_offers_each_model_its_own_ratios(browse: Browse) -> None:
    page = await browse("/")

    ratios = {box["value"]: box["data-ratios"] for box in page.all("input") if box.get("name") == "model"}
    assert ratios.keys() == {model.id for family in ("gpt4o-image", "flux-kontext") for model in of_family(family)}
    assert ratios["gpt4o-image"] == "1:1 3:2 2:3"
    assert ratios["flux-kontext-pro"] == ratios["flux-kontext-max"] == "16:9 4:3 1:1 3:4 9:16"
    assert page.text("title") == "kawaii · draw what you dream"


async def test_every_field_of_the_form_has_a_label(browse: Browse) -> None:
    page = await browse("/")

    labelled = {label.get("for") for label in page.all("label")}
    named = [field for field in page.all("textarea") + page.all("input") if field.get("type") != "radio"]
    assert {field["id"] for field in named} <= labelled


async def test_start_page_shows_the_latest_shares(browse: Browse, doubles: Doubles) -> None:
    doubles.share.add("share_1", generated_uri=PICTURE, prompt="a fox")

    page = await browse("/")

    assert {"href": "/share/share_1"} in page.all("a")
    assert PICTURE in [image.get("src") for image in page.all("img")]
    assert "a fox" in page.text("span")


async def test_start_page_lives_without_the_share_service(browse: Browse, doubles: Doubles) -> None:
    await doubles.stop("share")

    page = await browse("/")

    assert page.response.status_code == 200
    assert "taking a nap" in page.text("p")


async def test_share_page_tells_its_story_to_people_and_to_link_previews(browse: Browse, doubles: Doubles) -> None:
    seo = sharepb.Share.Seo(title_en="A fox | made with 4o", description_en="A fox in snow.", model_label="4o")
    doubles.share.add(
        "share_1", generated_uri=PICTURE, prompt="a fox\nin snow", style="ghibli", model="gpt4o-image", seo=seo
    )

    page = await browse("/share/share_1")

    assert page.text("title") == "A fox | made with 4o · kawaii"
    assert page.text("h1") == "A fox | made with 4o"
    assert page.text("blockquote") == "a fox\nin snow"
    assert page.text("dd") == "4oghibli"
    assert page.text("time") == "5 November 2026"
    expected = {
        "og:title": "A fox | made with 4o",
        "og:description": "A fox in snow.",
        "og:image": PICTURE,
        "og:url": "https://site.test/share/share_1",
        "twitter:card": "summary_large_image",
        "twitter:image": PICTURE,
        "robots": "index, follow, max-image-preview:large",
    }
    assert {name: page.meta(name) for name in expected} == expected
    assert {"rel": "canonical", "href": "https://site.test/share/share_1"} in page.all("link")


async def test_share_page_speaks_three_languages_and_names_them(browse: Browse, doubles: Doubles) -> None:
    seo = sharepb.Share.Seo(
        title_en="A fox", title_ja="きつね", description_ja="雪のきつね", keywords_ja=["狐", "雪"], model_label="4o"
    )
    doubles.share.add("share_1", generated_uri=PICTURE, prompt="狐狸", seo=seo)
    site = "https://site.test"
    places = {"ja": f"{site}/ja/share/share_1", "en": f"{site}/en/share/share_1", "zh": f"{site}/zh/share/share_1"}
    titles = {"ja": "きつね", "en": "A fox", "zh": "狐狸 | 4o", "x-default": "A fox"}

    for language, place in {**places, "x-default": f"{site}/share/share_1"}.items():
        page = await browse(place.removeprefix(site))
        links = page.all("link")
        assert page.text("h1") == page.meta("og:title") == titles[language]
        assert page.all("html") == [{"lang": language.removeprefix("x-default") or "en"}]
        assert [link["href"] for link in links if link["rel"] == "canonical"] == [place] == [page.meta("og:url")]
        alternates = {link["hreflang"]: link["href"] for link in links if link["rel"] == "alternate"}
        assert alternates == {**places, "x-default": f"{site}/share/share_1"}

    story = orjson.loads((await browse("/ja/share/share_1")).text("script"))
    assert story == {
        "@context": "https://schema.org",
        "@type": "ImageObject",
        "name": "きつね",
        "description": "雪のきつね",
        "contentUrl": PICTURE,
        "url": places["ja"],
        "inLanguage": "ja",
        "datePublished": story["datePublished"],
        "keywords": "狐, 雪",
        "creditText": "4o",
    }
    assert (await browse("/fr/share/share_1")).response.status_code == 404


async def test_older_links_with_a_query_show_the_same_share(browse: Browse, doubles: Doubles) -> None:
    doubles.share.add("share_1", generated_uri=PICTURE, prompt="a fox")

    by_path, by_query = await browse("/share/share_1"), await browse("/share?id=share_1")

    assert by_query.response.text == by_path.response.text


@pytest.mark.parametrize("path", ["/share/share_none", "/share?id=share_none", "/share/%3Cscript%3E", "/share/..%20x"])
async def test_unknown_share_is_a_page_that_nobody_indexes(browse: Browse, path: str) -> None:
    page = await browse(path)

    assert page.response.status_code == 404
    assert page.response.headers["content-type"] == "text/html; charset=utf-8"
    assert page.meta("robots") == "noindex"
    assert page.text("h1") == "We looked everywhere"


@pytest.mark.parametrize("path", ["/share", "/share/share_1"])
async def test_a_resting_share_service_is_explained_in_words(browse: Browse, doubles: Doubles, path: str) -> None:
    await doubles.stop("share")

    page = await browse(path)

    assert page.response.status_code == 503
    assert page.response.headers["retry-after"] == "2"
    assert page.meta("robots") == "noindex"
    assert page.text("h1") == "Back in a moment"


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "data:text/html,<script>", "JaVaScRiPt:1", "//evil.test/x"])
async def test_only_web_addresses_become_links_and_pictures(browse: Browse, doubles: Doubles, uri: str) -> None:
    doubles.share.add("share_1", generated_uri=uri, original_uri=uri, prompt="a fox")

    pages = [await browse(path) for path in EVERY_PAGE]

    assert uri not in [value for page in pages for _, attributes in page.elements for value in attributes.values()]


@pytest.mark.parametrize("path", EVERY_PAGE)
async def test_no_page_runs_or_styles_anything_inline(browse: Browse, doubles: Doubles, path: str) -> None:
    doubles.share.add("share_1", generated_uri=PICTURE, prompt="a fox")

    page = await browse(path)

    policy = page.response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "object-src 'none'" in policy
    assert "unsafe" not in policy
    scripts = [script for script in page.all("script") if script.get("type") != "application/ld+json"]
    assert all((script.get("src") or "").startswith("/assets/") for script in scripts)
    assert page.text("style") == ""
    assert not [
        name for _, attributes in page.elements for name in attributes if name == "style" or name.startswith("on")
    ]


async def test_gallery_goes_on_by_its_cursor_to_the_end(browse: Browse, doubles: Doubles) -> None:
    for number in range(30):
        doubles.share.add(f"share_{number}", generated_uri=PICTURE, prompt=f"fox {number}")

    first = await browse("/share")
    more = next(link["href"] for link in first.all("a") if link.get("rel") == "next")
    second = await browse(more)

    seen = [link["href"] for page in (first, second) for link in page.all("a") if "/share/" in (link["href"] or "")]
    assert seen == [f"/share/share_{number}" for number in reversed(range(30))]
    assert "next" not in [link.get("rel") for link in second.all("a")]


async def test_crawlers_are_kept_off_the_api(browse: Browse) -> None:
    response = (await browse("/robots.txt")).response

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == (
        "User-agent: *\nAllow: /api/sitemap-share\nDisallow: /api/\n\nSitemap: https://site.test/api/sitemap-share\n"
    )


# of tests/gateway/conftest.py


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
