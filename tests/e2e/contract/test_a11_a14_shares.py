"""Shares (docs/rest.md#making-shares): share records made, read, listed, published and deleted."""

import re
from typing import Any

import pytest

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TOKEN = re.compile(r"ptk_[A-Za-z0-9_-]{16,}")
SEO = ["descEn", "descJa", "keywordsEn", "keywordsJa", "modelLabel", "titleEn", "titleJa"]
WHEN = 1_793_865_600_000


def picture(name: str) -> str:
    """A picture's URL that no other test shares."""
    return f"https://pictures.example/contract/{name}.png"


def share(stack: Stack, name: str, **fields: Any) -> dict[str, Any]:
    """Share a picture; the whole answer."""
    answer: dict[str, Any] = (
        stack.post("/api/share", {"generatedUrl": picture(name), **fields}).raise_for_status().json()
    )
    return answer


def test_a11_a_share_with_everything(stack: Stack, validated: Validated) -> None:
    body = {
        "generatedUrl": picture("everything"),
        "originalUrl": picture("before"),
        "prompt": "a fox in snow",
        "style": "watercolor",
        "model": "gpt4o-image",
        "timestamp": WHEN,
        "isR2Stored": True,
        "seoTags": ["fox", "snow"],
    }
    answer = validated(stack.post("/api/share", body))
    record, token, identifier = answer.pop("data"), answer.pop("publishToken"), answer["shareId"]
    seo, created = record.pop("seo"), record.pop("createdAt")

    assert answer == {
        "success": True,
        "shareId": identifier,
        "shareUrl": f"http://localhost:{stack.http.base_url.port}/share?id={identifier}",
        "message": "The picture is shared.",
    }
    assert record == {**body, "id": identifier, "published": False}
    assert TOKEN.fullmatch(token)
    assert ISO.fullmatch(created)
    assert sorted(seo) == SEO
    assert max(len(seo["descJa"]), len(seo["descEn"])) <= 160


def test_a11_a_share_with_nothing_but_its_picture(stack: Stack, validated: Validated) -> None:
    nothing = {"originalUrl": None, "prompt": None, "style": None, "timestamp": None, "isR2Stored": None}
    record = validated(stack.post("/api/share", {"generatedUrl": picture("nothing"), **nothing}))["data"]

    assert (record["originalUrl"], record["prompt"], record["style"]) == ("", "", "default")
    assert (record["isR2Stored"], record["published"], "model" in record) == (False, False, False)
    assert len(record["seoTags"]) <= 20
    assert record["timestamp"] > 1_700_000_000_000


def test_a11_a_duplicate_answers_the_existing_share_without_a_token(stack: Stack, validated: Validated) -> None:
    first = validated(stack.post("/api/share", {"generatedUrl": picture("twice"), "prompt": "first"}))
    second = validated(stack.post("/api/share", {"generatedUrl": picture("twice"), "prompt": "second"}))

    assert second["shareId"] == first["shareId"]
    assert second["data"] == first["data"]
    assert "publishToken" not in second


def test_a11_a14_a_share_is_read_by_path_and_by_query(stack: Stack, validated: Validated) -> None:
    made = share(stack, "read", prompt="read me")
    by_path = stack.http.get(f"/api/share/{made['shareId']}")
    by_query = stack.http.get("/api/share", params={"id": made["shareId"]})

    assert (
        validated(by_path) == validated(by_query) == {"success": True, "data": {**made["data"], "isPublished": False}}
    )
    assert by_path.headers["x-robots-tag"] == "index"
    assert not TOKEN.search(by_path.text)


@pytest.mark.parametrize("identifier", ["share_nobody", "stats", "index:published:all", "LIST", "share:list"])
def test_a14_an_unknown_or_reserved_id_is_404_and_shows_no_insides(
    stack: Stack, validated: Validated, identifier: str
) -> None:
    answer = stack.http.get(f"/api/share/{identifier}")

    assert (answer.status_code, answer.headers["x-robots-tag"]) in [(404, "noindex"), (400, "noindex")]
    assert set(validated(answer)) == {"success", "error", "code", "message"}


def test_a12_the_list_has_the_seed_s_shape(stack: Stack, validated: Validated) -> None:
    made = share(stack, "listed", style="listed-style", model="listed-model", seoTags=["listed-tag"])
    whole = validated(stack.http.get("/api/share/list", params={"style": "listed-style"}))
    answer = stack.http.get("/api/share/list", params={"limit": 1})
    fields = ("id", "generatedUrl", "style", "timestamp", "createdAt", "originalUrl")
    item = {name: made["data"][name] for name in fields}

    assert whole == {
        "success": True,
        "data": {
            "items": [item],
            "total": 1,
            "limit": 20,
            "offset": 0,
            "hasMore": False,
            "filter": "style:listed-style",
        },
    }
    assert answer.headers["cache-control"] == "public, s-maxage=300, max-age=60, stale-while-revalidate=120"
    for facet, value in (("model", "listed-model"), ("tag", "listed-tag")):
        found = stack.http.get("/api/share/list", params={facet: value}).json()["data"]
        assert ([one["id"] for one in found["items"]], found["filter"]) == ([made["shareId"]], f"{facet}:{value}")


def test_a12_pictures_made_from_text_and_published_ones_are_listed(stack: Stack) -> None:
    """A picture made from another picture is listed once its maker publishes it, and not before."""
    text = share(stack, "from-text", style="policy")
    made = share(stack, "from-picture", style="policy", originalUrl=picture("source"))
    listed = stack.http.get("/api/share/list", params={"style": "policy"}).json()["data"]["items"]

    assert [item["id"] for item in listed] == [text["shareId"]]
    publish = {"action": "publish"}
    stack.http.put(
        f"/api/share/{made['shareId']}", json=publish, headers={"X-Share-Token": made["publishToken"]}
    ).raise_for_status()
    listed = stack.http.get("/api/share/list", params={"style": "policy"}).json()["data"]["items"]
    assert {item["id"] for item in listed} == {text["shareId"], made["shareId"]}


def test_a11_the_share_url_opens_the_page_that_names_the_canonical_one(stack: Stack) -> None:
    made = share(stack, "canonical")
    pages = [stack.http.get(url) for url in (made["shareUrl"], f"/share/{made['shareId']}")]

    for page in pages:
        assert page.status_code == 200
        assert f'<link rel="canonical" href="{made["shareUrl"].replace("?id=", "/")}">' in page.text


def test_a12_following_numeric_cursors_shows_each_share_once(stack: Stack, validated: Validated) -> None:
    made = {share(stack, f"paged-{number}", style="paged")["shareId"] for number in range(7)}
    seen: list[str] = []
    query: dict[str, Any] = {"style": "paged", "limit": 3, "tb": 700}
    for _ in range(3):
        page = validated(stack.http.get("/api/share/list", params=query))["data"]
        seen += [item["id"] for item in page["items"]]
        assert page["hasMore"] is ("cursor" in page)
        query["cursor"] = page.get("cursor", "")

    assert "cursor" not in page
    assert len(seen) == 7
    assert set(seen) == made


def test_a13_the_latest_are_at_most_twelve_newest_first(stack: Stack, validated: Validated) -> None:
    made = [share(stack, f"latest-{number}")["shareId"] for number in range(13)]
    answer = stack.http.get("/api/share/latest")
    items = until(lambda: newest(stack, made[-1]))

    validated(answer)
    assert [item["id"] for item in items] == made[:0:-1]
    assert answer.headers["cache-control"] == "public, s-maxage=600, max-age=300, stale-while-revalidate=120"


def newest(stack: Stack, identifier: str) -> list[dict[str, Any]] | None:
    """The latest shares once this one is the first."""
    items = stack.http.get("/api/share/latest").json()["data"]["items"]
    return items if items and items[0]["id"] == identifier else None


def test_a14_publishing_takes_the_token_and_may_be_repeated(stack: Stack, validated: Validated) -> None:
    made = share(stack, "published")
    path, right = f"/api/share/{made['shareId']}", {"action": "publish", "token": made["publishToken"]}
    first = validated(stack.http.put(path, json=right))
    again = validated(stack.http.put(path, json=right))
    record = stack.http.get(path).json()["data"]

    assert first == {"success": True, "published": True, "contributedAt": first["contributedAt"]}
    assert again == first
    assert (record["published"], record["isPublished"], record["contributedAt"]) == (True, True, first["contributedAt"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"action": "publish"}, 400, "INVALID_INPUT"),
        ({"action": "publish", "token": ""}, 400, "INVALID_INPUT"),
        ({"action": "publish", "token": 7}, 400, "INVALID_INPUT"),
        ({"action": "publish", "token": "ptk_wrong"}, 403, "INVALID_TOKEN"),
        ({"action": "explode", "token": "ptk_wrong"}, 400, "INVALID_INPUT"),
        ({"token": "ptk_wrong"}, 400, "INVALID_INPUT"),
    ],
)
def test_a14_publishing_without_the_token_is_no_fake_success(
    stack: Stack, validated: Validated, body: dict[str, Any], status: int, code: str
) -> None:
    made = share(stack, "kept-back")
    answer = stack.http.put(f"/api/share/{made['shareId']}", json=body)

    assert (answer.status_code, validated(answer)["code"]) == (status, code)
    assert stack.http.get(f"/api/share/{made['shareId']}").json()["data"]["published"] is False


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a14_an_unknown_share_is_404_with_any_token(stack: Stack, validated: Validated, method: str) -> None:
    answer = stack.http.request(method, "/api/share/share_nobody", json={"action": "publish", "token": "ptk_x"})

    assert (answer.status_code, validated(answer)["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("in_header", [True, False])
def test_a14_deleting_takes_the_same_token_also_after_publishing(
    stack: Stack, validated: Validated, *, in_header: bool
) -> None:
    made = share(stack, f"deleted-{in_header}")
    path, token = f"/api/share/{made['shareId']}", made["publishToken"]
    stack.http.put(path, json={"action": "publish", "token": token}).raise_for_status()
    wrong = stack.http.request("DELETE", path, json={"token": "ptk_wrong"})
    carried = {"headers": {"X-Share-Token": token}} if in_header else {"json": {"token": token}}
    right = stack.http.request("DELETE", path, **carried)

    assert (wrong.status_code, validated(wrong)["code"]) == (403, "INVALID_TOKEN")
    assert validated(right) == {"success": True, "deleted": True, "message": "The share is deleted."}
    assert stack.http.get(path).status_code == 404
    listed = stack.http.get("/api/share/list", params={"limit": 100}).json()["data"]["items"]
    assert made["shareId"] not in [item["id"] for item in listed]
