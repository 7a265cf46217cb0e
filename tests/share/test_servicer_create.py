"""Sharing a picture, through a real channel: what is taken, what is refused, what comes back."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeAlias

import pytest
from grpc import aio
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from sqlalchemy import func, select

from services.chassis.database import Database
from services.chassis.errors import InvalidArgument
from services.chassis.public_files import PublicFiles
from services.share.stores.tables import share as table

Client: TypeAlias = "sharerpc.ShareServiceAsyncStub"
Serve = Callable[..., AbstractAsyncContextManager["sharerpc.ShareServiceAsyncStub"]]
Refused = Callable[..., AbstractContextManager[None]]
OURS = "https://files.example/files/generated/a.png"
THEIRS = "https://pictures.example/a.png"
NOW = 1_700_000_000


def request(generated_uri: str = THEIRS, **fields: Any) -> sharepb.CreateShareRequest:
    return sharepb.CreateShareRequest(share=sharepb.Share(generated_uri=generated_uri, **fields))


async def test_a_share_comes_back_with_what_was_given_and_what_was_left_out(client: Client) -> None:
    created = await client.CreateShare(request(prompt="  a cat \n", original_uri="https://a.example/o.png"))

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
    given = request(name="shares/share_mine", published=True, seo=sharepb.Share.Seo(title_en="mine"))
    given.share.create_time.seconds = 5

    share = (await client.CreateShare(given)).share

    assert share.name != "shares/share_mine"
    assert not share.published
    assert share.seo.title_en != "mine"
    assert share.create_time.seconds >= NOW


async def test_a_picture_is_stored_when_it_is_ours_or_the_client_says_so(client: Client) -> None:
    assert (await client.CreateShare(request(OURS))).share.stored
    assert (await client.CreateShare(request(f"{THEIRS}?2", stored=True))).share.stored
    assert not (await client.CreateShare(request(f"{THEIRS}?3"))).share.stored


async def test_our_own_urls_follow_when_the_files_move(serve: Serve) -> None:
    async with serve() as client:
        name = (await client.CreateShare(request(OURS, original_uri=OURS))).share.name
    async with serve(files=PublicFiles("https://cdn.example")) as client:
        share = await client.GetShare(sharepb.GetShareRequest(name=name))

    assert share.generated_uri == share.original_uri == "https://cdn.example/generated/a.png"


async def test_the_token_is_not_kept(client: Client, database: Database) -> None:
    token = (await client.CreateShare(request())).publish_token
    async with database.read() as connection:
        row = (await connection.execute(select(table))).one()

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
        await client.CreateShare(request(uri))
    if uri:
        with refused(InvalidArgument, "INVALID_INPUT", "share.original_uri"):
            await client.CreateShare(request(original_uri=uri))

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
        await client.CreateShare(request(uri))
    with refused(InvalidArgument, "URL_NOT_ALLOWED", "share.original_uri"):
        await client.CreateShare(request(original_uri=uri))


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
    assert (await client.CreateShare(request(uri))).share.generated_uri == uri


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
        await client.CreateShare(request(**{field: value}))


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
        await client.CreateShare(request(**{field: value}))

    assert caught.value.details() == sentence


async def test_texts_may_fill_their_bounds(client: Client) -> None:
    tags = [f"{number:0>100}" for number in range(25)]
    given = request(prompt="👩" * 10_000, style="s" * 200, model="m" * 200, seo_tags=tags)

    share = (await client.CreateShare(given)).share

    assert (share.prompt, share.style, share.model) == ("👩" * 10_000, "s" * 200, "m" * 200)
    assert list(share.seo_tags) == tags[:20]


async def test_blank_and_repeated_tags_are_dropped(client: Client) -> None:
    share = (await client.CreateShare(request(seo_tags=[" cat ", "", "cat", " ", "猫"]))).share

    assert list(share.seo_tags) == ["cat", "猫"]


@pytest.mark.parametrize("seconds", [-1, 946_684_799, NOW * 2, 2**62, -(2**62)])
async def test_an_absurd_time_becomes_now(client: Client, seconds: int) -> None:
    given = request()
    given.share.generate_time.seconds = seconds

    assert (await client.CreateShare(given)).share.generate_time.seconds - NOW in range(3600)


async def test_a_time_in_the_future_becomes_now_and_does_not_hold_the_head_of_the_latest(client: Client) -> None:
    ahead = request()
    ahead.share.generate_time.seconds = int(time.time()) + 3600
    early = await client.CreateShare(ahead)
    late = await client.CreateShare(request("https://pictures.example/b.png"))

    assert early.share.generate_time.seconds == early.share.create_time.seconds
    latest = (await client.ListLatestShares(sharepb.ListLatestSharesRequest())).shares
    assert [share.name for share in latest] == [late.share.name, early.share.name]


async def test_a_plausible_time_is_kept(client: Client) -> None:
    given = request()
    given.share.generate_time.FromJsonString("2023-11-01T10:20:30.456Z")

    assert (await client.CreateShare(given)).share.generate_time == given.share.generate_time


async def test_a_picture_shared_again_is_the_same_share_without_a_token(client: Client) -> None:
    first = await client.CreateShare(request(OURS, prompt="first"))
    again = await client.CreateShare(request(OURS, prompt="again"))

    assert again.share == first.share
    assert (bool(first.publish_token), again.publish_token) == (True, "")


async def test_fifty_concurrent_shares_of_one_picture_are_one_row_and_one_token(
    client: Client, database: Database
) -> None:
    answers = await asyncio.gather(*(client.CreateShare(request()) for _ in range(50)))

    async with database.read() as connection:
        rows = await connection.scalar(select(func.count()).select_from(table))
    assert rows == 1
    assert len({answer.share.name for answer in answers}) == 1
    assert len([answer for answer in answers if answer.publish_token]) == 1
