"""ShareService through a real channel: shares are created, read, listed, published, deleted and counted."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeAlias

import pytest
from grpc import aio
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from sqlalchemy import func, select

from services.chassis.database import Database
from services.chassis.errors import InvalidArgument, NotFound, PermissionDenied
from services.chassis.public_files import PublicFiles
from services.share.model import Policy
from services.share.stores.tables import share as table

Client: TypeAlias = "sharerpc.ShareServiceAsyncStub"
Serve = Callable[..., AbstractAsyncContextManager["sharerpc.ShareServiceAsyncStub"]]
Refused = Callable[..., AbstractContextManager[None]]
OURS = "https://files.example/files/generated/a.png"
THEIRS = "https://pictures.example/a.png"
NOW = 1_700_000_000
AT_ONCE = 20
Verb = Callable[["sharerpc.ShareServiceAsyncStub", str, str], Awaitable[object]]


def creation(generated_uri: str = THEIRS, **fields: Any) -> sharepb.CreateShareRequest:
    return sharepb.CreateShareRequest(share=sharepb.Share(generated_uri=generated_uri, **fields))


async def test_a_share_comes_back_with_what_was_given_and_what_was_left_out(client: Client) -> None:
    created = await client.CreateShare(creation(prompt="  a cat \n", original_uri="https://a.example/o.png"))

    share = created.share
    assert re.fullmatch(r"shares/share_[0-9a-z]{26}", share.name)
    assert re.fullmatch(r"ptk_[\w-]{22}", created.publish_token)
    assert (share.generated_uri, share.original_uri) == (THEIRS, "https://a.example/o.png")
    assert (share.prompt, share.style, share.model) == ("  a cat \n", "default", "")
    assert (share.stored, share.published) == (False, False)
    assert not share.HasField("publish_time")
    assert share.create_time.seconds == share.generate_time.seconds >= NOW
    assert "AI画像生成" in share.seo_tags
    assert share.seo.title_en == "a cat | made with AI"
    assert await client.GetShare(sharepb.GetShareRequest(name=share.name)) == share


async def test_what_is_ours_to_say_is_ignored(client: Client) -> None:
    given = creation(name="shares/share_mine", published=True, seo=sharepb.Share.Seo(title_en="mine"))
    given.share.create_time.seconds = 5

    share = (await client.CreateShare(given)).share

    assert share.name != "shares/share_mine"
    assert not share.published
    assert share.seo.title_en != "mine"
    assert share.create_time.seconds >= NOW


async def test_a_picture_is_stored_when_it_is_ours_or_the_client_says_so(client: Client) -> None:
    assert (await client.CreateShare(creation(OURS))).share.stored
    assert (await client.CreateShare(creation(f"{THEIRS}?2", stored=True))).share.stored
    assert not (await client.CreateShare(creation(f"{THEIRS}?3"))).share.stored


async def test_our_own_urls_follow_when_the_files_move(serve: Serve) -> None:
    async with serve() as client:
        name = (await client.CreateShare(creation(OURS, original_uri=OURS))).share.name
    async with serve(files=PublicFiles("https://cdn.example")) as client:
        share = await client.GetShare(sharepb.GetShareRequest(name=name))

    assert share.generated_uri == share.original_uri == "https://cdn.example/generated/a.png"


async def test_the_token_is_not_kept(client: Client, database: Database) -> None:
    token = (await client.CreateShare(creation())).publish_token
    row = await database.read(lambda transaction: transaction.execute(select(table)).one())

    assert token not in str(row)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        " ",
        "picture.png",
        "//pictures.example/a.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "ftp://pictures.example/a.png",
        "https://",
        "https:///a.png",
        "https://:80/a.png",
        "http:/pictures.example/a.png",
        "https://user:password@pictures.example/a.png",
        "https://good.example@evil.example/",
        "https://good.example\\@evil.example/",
        "https://[::1/a.png",
        "https://pictures.example:port/",
        "https://pictures.example/a b.png",
        "https://pictures.example/a\n.png",
        "https://pictures.example/\0",
        "https://pictures.example/\x7f",
        " https://pictures.example/",
        f"https://pictures.example/{'a' * 2024}",
    ],
)
async def test_a_url_that_no_browser_should_follow_is_refused(client: Client, refused: Refused, uri: str) -> None:
    with refused(InvalidArgument, "INVALID_INPUT", "share.generated_uri"):
        await client.CreateShare(creation(uri))
    if uri:
        with refused(InvalidArgument, "INVALID_INPUT", "share.original_uri"):
            await client.CreateShare(creation(original_uri=uri))

    assert (await client.GetShareStats(sharepb.GetShareStatsRequest())).total_count == 0


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:8080/files/generated/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:10.0.0.1]/a.png",
        "http://localhost/a.png",
        "https://database.internal/a.png",
        "https://pictures.example:6379/a.png",
    ],
)
async def test_a_url_that_leads_inside_is_refused(client: Client, refused: Refused, uri: str) -> None:
    with refused(InvalidArgument, "URL_NOT_ALLOWED", "share.generated_uri"):
        await client.CreateShare(creation(uri))
    with refused(InvalidArgument, "URL_NOT_ALLOWED", "share.original_uri"):
        await client.CreateShare(creation(original_uri=uri))


@pytest.mark.parametrize(
    "uri",
    [
        "HTTPS://pictures.example",
        "http://93.184.216.34/a.png",
        "https://[2606:4700:4700::1111]/a.png",
        "https://例え.jp/絵.png?q=%20#x",
        "https://pictures.example?x=https://a:b@c/",
        f"https://pictures.example/{'a' * 2023}",
    ],
)
async def test_any_public_web_address_may_be_shared(client: Client, uri: str) -> None:
    assert (await client.CreateShare(creation(uri))).share.generated_uri == uri


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "a" * 10_001),
        ("prompt", "a\0b"),
        ("style", "a" * 201),
        ("style", "a\0b"),
        ("model", "a" * 201),
        ("seo_tags", ["a" * 101]),
        ("seo_tags", ["fine", "a\0b"]),
    ],
)
async def test_a_text_out_of_bounds_is_refused(client: Client, refused: Refused, field: str, value: Any) -> None:
    with refused(InvalidArgument, "INVALID_INPUT", f"share.{field}"):
        await client.CreateShare(creation(**{field: value}))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("prompt", "a" * 10_001, "prompt is too long: at most 10000 characters are allowed."),
        ("style", "a\0b", "style holds a NUL or half a character, which cannot be stored. Remove it."),
        ("original_uri", "/a", "original_uri must be an http or https URL with a host, at most 2048 characters."),
    ],
)
async def test_the_sentence_of_a_refusal_names_what_is_wrong(
    client: Client, field: str, value: str, sentence: str
) -> None:
    """Behind REST it is all that people see."""
    with pytest.raises(aio.AioRpcError) as caught:
        await client.CreateShare(creation(**{field: value}))

    assert caught.value.details() == sentence


async def test_texts_may_fill_their_bounds(client: Client) -> None:
    tags = [f"{number:0>100}" for number in range(25)]
    given = creation(prompt="👩" * 10_000, style="s" * 200, model="m" * 200, seo_tags=tags)

    share = (await client.CreateShare(given)).share

    assert (share.prompt, share.style, share.model) == ("👩" * 10_000, "s" * 200, "m" * 200)
    assert list(share.seo_tags) == tags[:20]


async def test_blank_and_repeated_tags_are_dropped(client: Client) -> None:
    share = (await client.CreateShare(creation(seo_tags=[" cat ", "", "cat", " ", "猫"]))).share

    assert list(share.seo_tags) == ["cat", "猫"]


@pytest.mark.parametrize("seconds", [-1, 946_684_799, NOW * 2, 2**62, -(2**62)])
async def test_an_absurd_time_becomes_now(client: Client, seconds: int) -> None:
    given = creation()
    given.share.generate_time.seconds = seconds

    assert (await client.CreateShare(given)).share.generate_time.seconds - NOW in range(3600)


async def test_a_time_in_the_future_becomes_now_and_does_not_hold_the_head_of_the_latest(client: Client) -> None:
    ahead = creation()
    ahead.share.generate_time.seconds = int(time.time()) + 3600
    early = await client.CreateShare(ahead)
    late = await client.CreateShare(creation("https://pictures.example/b.png"))

    assert early.share.generate_time.seconds == early.share.create_time.seconds
    latest = (await client.ListLatestShares(sharepb.ListLatestSharesRequest())).shares
    assert [share.name for share in latest] == [late.share.name, early.share.name]


async def test_a_plausible_time_is_kept(client: Client) -> None:
    given = creation()
    given.share.generate_time.FromJsonString("2023-11-01T10:20:30.456Z")

    assert (await client.CreateShare(given)).share.generate_time == given.share.generate_time


async def test_a_picture_shared_again_is_the_same_share_without_a_token(client: Client) -> None:
    first = await client.CreateShare(creation(OURS, prompt="first"))
    again = await client.CreateShare(creation(OURS, prompt="again"))

    assert again.share == first.share
    assert (bool(first.publish_token), again.publish_token) == (True, "")


async def test_fifty_concurrent_shares_of_one_picture_are_one_row_and_one_token(
    client: Client, database: Database
) -> None:
    answers = await asyncio.gather(*(client.CreateShare(creation()) for _ in range(50)))

    rows = select(func.count()).select_from(table)
    assert await database.read(lambda transaction: transaction.scalar(rows)) == 1
    assert len({answer.share.name for answer in answers}) == 1
    assert len([answer for answer in answers if answer.publish_token]) == 1


def numbered(number: int) -> sharepb.CreateShareRequest:
    return sharepb.CreateShareRequest(share=sharepb.Share(generated_uri=f"https://pictures.example/{number}"))


@pytest.mark.parametrize("identifier", ["share_x", "stats", "list", "index:published:all", "a/b", "../x", ""])
async def test_only_a_share_is_read_by_its_name(client: Client, refused: Refused, identifier: str) -> None:
    plain = re.fullmatch(r"[a-z_]+", identifier)

    with refused(NotFound, "NOT_FOUND") if plain else refused(InvalidArgument, "INVALID_INPUT", "name"):
        await client.GetShare(sharepb.GetShareRequest(name=f"shares/{identifier}"))


async def test_a_batch_keeps_the_order_and_leaves_out_what_is_not_there(client: Client, refused: Refused) -> None:
    made = [(await client.CreateShare(numbered(number))).share for number in range(3)]
    names = [made[2].name, "shares/share_x", made[0].name]

    found = await client.BatchGetShares(sharepb.BatchGetSharesRequest(names=names))

    assert list(found.shares) == [made[2], made[0]]
    with refused(InvalidArgument, "INVALID_INPUT", "names"):
        await client.BatchGetShares(sharepb.BatchGetSharesRequest(names=["shares/a"] * 1001))


async def create(client: Client, label: object, *, published: bool = False, **fields: Any) -> str:
    share = sharepb.Share(generated_uri=f"https://pictures.example/{label}", **fields)
    created = await client.CreateShare(sharepb.CreateShareRequest(share=share))
    if published:
        token = created.publish_token
        await client.PublishShare(sharepb.PublishShareRequest(name=created.share.name, token=token))
    return created.share.name


async def listed(client: Client, **query: Any) -> sharepb.ListSharesResponse:
    return await client.ListShares(sharepb.ListSharesRequest(**query))


async def latest(client: Client, page_size: int = 0) -> list[str]:
    answer = await client.ListLatestShares(sharepb.ListLatestSharesRequest(page_size=page_size))
    return [share.name for share in answer.shares]


def names(page: sharepb.ListSharesResponse) -> list[str]:
    return [share.name for share in page.shares]


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (Policy.TEXT_TO_IMAGE, ["text", "text published"]),
        (Policy.PUBLISHED, ["text published", "picture published"]),
        (Policy.PUBLISHED_OR_TEXT, ["text", "text published", "picture published"]),
        (Policy.ALL, ["text", "picture", "text published", "picture published"]),
    ],
)
async def test_the_policy_decides_what_the_lists_show(serve: Serve, policy: Policy, shown: list[str]) -> None:
    picture: Any = {"original_uri": "https://a.example/o.png"}
    async with serve(policy) as client:
        made = {
            "text": await create(client, 1),
            "picture": await create(client, 2, **picture),
            "text published": await create(client, 3, published=True),
            "picture published": await create(client, 4, published=True, **picture),
        }
        expected = [made[each] for each in reversed(shown)]

        page = await listed(client)

        assert (names(page), page.total_size, page.next_page_token) == (expected, len(expected), "")
        assert await latest(client) == await latest(client, 100) == expected


async def test_fifty_concurrent_shares_are_all_listed(client: Client) -> None:
    made = await created(client, 50)

    page = await listed(client, page_size=100)

    assert sorted(names(page)) == sorted(made)
    assert page.total_size == 50


async def test_thirty_concurrent_publications_are_all_listed(serve: Serve) -> None:
    async with serve(Policy.PUBLISHED) as client:
        made = await created(client, 30, published=True)

        assert sorted(names(await listed(client, page_size=100))) == sorted(made)
        assert len(await latest(client)) == 12


@pytest.mark.parametrize("facet", ["style", "model", "tag"])
async def test_a_list_may_be_narrowed(client: Client, refused: Refused, facet: str) -> None:
    field = {"style": "style", "model": "model", "tag": "seo_tags"}[facet]
    wanted: Any = {field: ["水彩 ' %", "other"] if facet == "tag" else "水彩 ' %"}
    others: Any = {field: ["x"] if facet == "tag" else "x"}
    name = await create(client, 1, **wanted)
    await create(client, 2, **others)

    page = await listed(client, **{facet: " 水彩 ' % "})

    assert (names(page), page.total_size) == ([name], 1)
    assert names(await listed(client, **{facet: "%"})) == []
    with refused(InvalidArgument, "INVALID_INPUT", facet):
        await listed(client, **{facet: "a\0"})
    with refused(InvalidArgument, "INVALID_INPUT", facet):
        await listed(client, **{facet: "a" * 201})


async def test_a_list_is_narrowed_by_one_thing_only(client: Client, refused: Refused) -> None:
    with refused(InvalidArgument, "INVALID_INPUT", "tag"):
        await listed(client, style="a", tag="b")


async def test_paging_meets_every_share_once_while_others_come(client: Client) -> None:
    made = [await create(client, number) for number in range(25)]
    seen, token, late = [], "", 0
    while True:
        page = await listed(client, page_size=4, page_token=token)
        seen += names(page)
        if not (token := page.next_page_token):
            break
        await asyncio.gather(*(create(client, f"late {late + each}".replace(" ", "")) for each in range(3)))
        late += 3
        assert int(token) < 2**53

    assert seen == made[::-1]
    assert page.total_size == 25 + late


async def created(client: Client, number: int, **fields: Any) -> list[str]:
    """Make shares, a few at a time: each waits five seconds at most for its turn to write."""
    made: list[str] = []
    for start in range(0, number, AT_ONCE):
        some = range(start, min(start + AT_ONCE, number))
        made += await asyncio.gather(*(create(client, each, **fields) for each in some))
    return made


async def test_a_page_of_the_longest_prompts_ends_early_instead_of_failing(client: Client) -> None:
    made = await created(client, 100, prompt="👩" * 10_000)

    first = await listed(client, page_size=100)
    second = await listed(client, page_size=100, page_token=first.next_page_token)

    assert 50 < len(first.shares) < 100
    assert sorted(names(first) + names(second)) == sorted(made)


async def test_a_list_may_be_paged_by_offset(client: Client, refused: Refused) -> None:
    made = [await create(client, number) for number in range(5)][::-1]

    page = await listed(client, page_size=2, skip=2)

    assert (names(page), page.total_size) == (made[2:4], 5)
    assert names(await listed(client, page_size=2, page_token=page.next_page_token)) == made[4:]
    assert names(await listed(client, skip=10_000)) == []
    for skip in (-1, 10_001):
        with refused(InvalidArgument, "INVALID_INPUT", "skip"):
            await listed(client, skip=skip)


async def test_page_sizes_have_a_default_and_a_bound(client: Client, refused: Refused) -> None:
    await created(client, 101)

    assert len((await listed(client)).shares) == 20
    assert len((await listed(client, page_size=1000)).shares) == 100
    assert (len(await latest(client)), len(await latest(client, 5)), len(await latest(client, 500))) == (12, 5, 100)
    with refused(InvalidArgument, "INVALID_INPUT", "page_size"):
        await listed(client, page_size=-1)
    with refused(InvalidArgument, "INVALID_INPUT", "page_size"):
        await latest(client, -1)


async def test_a_negative_block_of_links_is_refused(client: Client, refused: Refused) -> None:
    with refused(InvalidArgument, "INVALID_INPUT", "block"):
        await client.ListShareLinks(sharepb.ListShareLinksRequest(block=-1))


@pytest.mark.parametrize("forge", ["0", "1", "-1", "x", "٣٣٣٣٣٣٣", "9" * 16, "1" * 400, "1e9", "100000", "{}1", "0{}"])
async def test_a_page_token_of_others_is_refused(client: Client, refused: Refused, forge: str) -> None:
    await asyncio.gather(*(create(client, number, style="a") for number in range(3)))
    token = (await listed(client, page_size=1)).next_page_token

    with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
        await listed(client, page_token=forge.format(token))
    with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
        await listed(client, page_token=token, style="a")
    with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
        await listed(client, page_token=str(int(token) - 100_000))


async def test_the_latest_are_the_newest_pictures(client: Client) -> None:
    made = []
    for day in (3, 1, 2):
        share = sharepb.Share(generated_uri=f"https://pictures.example/{day}")
        share.generate_time.FromJsonString(f"2023-01-0{day}T00:00:00Z")
        made.append((await client.CreateShare(sharepb.CreateShareRequest(share=share))).share.name)

    assert await latest(client) == [made[0], made[2], made[1]]


async def make(client: Client, label: object = "a") -> sharepb.CreateShareResponse:
    share = sharepb.Share(generated_uri=f"https://pictures.example/{label}.png")
    return await client.CreateShare(sharepb.CreateShareRequest(share=share))


async def publish(client: Client, name: str, token: str) -> sharepb.Share:
    return await client.PublishShare(sharepb.PublishShareRequest(name=name, token=token))


async def delete(client: Client, name: str, token: str) -> object:
    return await client.DeleteShare(sharepb.DeleteShareRequest(name=name, token=token))


async def get(client: Client, name: str) -> sharepb.Share:
    return await client.GetShare(sharepb.GetShareRequest(name=name))


async def stats(client: Client) -> sharepb.ShareStats:
    return await client.GetShareStats(sharepb.GetShareStatsRequest())


@pytest.mark.parametrize("verb", [publish, delete])
async def test_nothing_happens_without_the_right_token(client: Client, refused: Refused, verb: Verb) -> None:
    created, other = await make(client), await make(client, "b")
    name = created.share.name

    with refused(InvalidArgument, "INVALID_INPUT", "token"):
        await verb(client, name, "")
    for token in ("wrong", "ptk_", "é\0", other.publish_token, created.publish_token.upper(), "x" * 100_000):
        with refused(PermissionDenied, "INVALID_TOKEN"):
            await verb(client, name, token)
    with refused(NotFound, "NOT_FOUND"):
        await verb(client, "shares/share_x", created.publish_token)
    with refused(InvalidArgument, "INVALID_INPUT", "name"):
        await verb(client, "share_x", created.publish_token)

    assert await get(client, name) == created.share


async def test_publishing_again_changes_nothing(client: Client, refused: Refused) -> None:
    created = await make(client)

    first = await publish(client, created.share.name, created.publish_token)

    assert first.published
    assert first.publish_time.seconds > created.share.create_time.seconds
    assert await publish(client, created.share.name, created.publish_token) == first
    assert await get(client, created.share.name) == first
    with refused(PermissionDenied, "INVALID_TOKEN"):
        await publish(client, created.share.name, "wrong")


async def test_thirty_concurrent_publications_of_one_share_agree(client: Client) -> None:
    created = await make(client)

    answers = await asyncio.gather(*(publish(client, created.share.name, created.publish_token) for _ in range(30)))

    assert len({answer.publish_time.seconds for answer in answers}) == 1
    assert (await stats(client)).published_count == 1


async def test_a_deleted_share_is_gone_and_its_picture_may_be_shared_anew(client: Client, refused: Refused) -> None:
    created = await make(client)
    await publish(client, created.share.name, created.publish_token)

    await delete(client, created.share.name, created.publish_token)

    with refused(NotFound, "NOT_FOUND"):
        await get(client, created.share.name)
    with refused(NotFound, "NOT_FOUND"):
        await delete(client, created.share.name, created.publish_token)
    page = await client.ListShares(sharepb.ListSharesRequest())
    assert (list(page.shares), page.total_size) == ([], 0)
    assert list((await client.ListLatestShares(sharepb.ListLatestSharesRequest())).shares) == []
    again = await make(client)
    assert again.publish_token
    assert again.share.name != created.share.name


async def test_of_concurrent_deletions_one_succeeds(client: Client) -> None:
    created = await make(client)
    deletions = (delete(client, created.share.name, created.publish_token) for _ in range(10))

    results = await asyncio.gather(*deletions, return_exceptions=True)

    assert len([each for each in results if not isinstance(each, BaseException)]) == 1


async def test_the_statistics_follow_every_change(serve: Serve) -> None:
    async with serve(Policy.PUBLISHED) as client:
        for label in range(3):
            created = await make(client, label)
            assert (await stats(client)).total_count == label + 1
        await publish(client, created.share.name, created.publish_token)
        counted = await stats(client)

        assert (counted.total_count, counted.stored_count, counted.published_count) == (3, 0, 1)
        assert counted.HasField("update_time")
        await delete(client, created.share.name, created.publish_token)
        assert (await stats(client)).published_count == 0
