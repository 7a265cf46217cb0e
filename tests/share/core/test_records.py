"""Shares are exported from one stack and restored in another unchanged, for operators."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1 import admin_pb2_grpc as shareadminrpc
from kawaii.share.v1 import share_pb2 as sharepb

from services.chassis.channels import plain_channel
from services.chassis.database import Database
from services.chassis.errors import AlreadyExists, InvalidArgument, PermissionDenied
from services.chassis.server import Mount
from services.share.admin_servicer import ShareAdminServicer
from services.share.core.records import ShareRecords
from services.share.core.shares import digest_of
from tests.share.conftest import FILES, START_MS, Refused, Serve, cached, in_sql
from tests.support.servers import serving

if TYPE_CHECKING:
    Admin = shareadminrpc.ShareAdminServiceAsyncStub
else:
    Admin = Any
TOKEN = "ptk_of-its-owner"
PAST = Timestamp(seconds=1_600_000_000, nanos=123_000_000)
LATER = Timestamp(seconds=1_600_000_100)


def record(identifier: str = "share_old", **changes: Any) -> shareadminpb.ShareRecord:
    """A share as another stack exports it."""
    seo = sharepb.Share.Seo(
        model_label="An older label",
        title_ja="題",
        title_en="A title",
        description_ja="説明",
        description_en="Told",
        keywords_ja=["猫"],
        keywords_en=["cat", "an older word"],
    )
    fields: dict[str, Any] = {
        "name": f"shares/{identifier}",
        "generated_uri": f"https://elsewhere.example/{identifier}.png",
        "prompt": "of a 猫",
        "style": "Ghibli",
        "model": "gpt4o-image",
        "generate_time": PAST,
        "seo_tags": ["猫", "cat"],
        "seo": seo,
        "create_time": PAST,
    }
    return shareadminpb.ShareRecord(share=sharepb.Share(**fields | changes), token_digest=digest_of(TOKEN))


@asynccontextmanager
async def admin_of(database: Database) -> AsyncIterator[Admin]:
    """The operators' side of the service, on a real socket."""
    records = ShareRecords(cached(database), own_key=FILES.key, clock=lambda: START_MS)
    servicer = ShareAdminServicer(records, FILES)
    mount = Mount(shareadminrpc.add_ShareAdminServiceServicer_to_server, servicer, shareadminpb.DESCRIPTOR)
    async with serving(mount) as address, plain_channel(address) as channel:
        yield shareadminrpc.ShareAdminServiceStub(channel)


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Admin]:
    async with admin_of(database) as stub:
        yield stub


async def restored(admin: Admin, record: shareadminpb.ShareRecord) -> bool:
    return (await admin.RestoreShare(shareadminpb.RestoreShareRequest(share_record=record))).created


async def listed(admin: Admin, size: int = 0) -> list[shareadminpb.ShareRecord]:
    """Every record, page by page."""
    found, token = list[shareadminpb.ShareRecord](), ""
    while True:
        request = shareadminpb.ListShareRecordsRequest(page_size=size, page_token=token)
        answer = await admin.ListShareRecords(request)
        found += answer.share_records
        token = answer.next_page_token
        if not token:
            return found


async def test_a_restored_share_is_the_one_that_was_exported(admin: Admin, serve: Serve, database: Database) -> None:
    given = [
        record("share_a"),
        record("share_b", published=True, publish_time=LATER, original_uri="https://elsewhere.example/o.png"),
        record("share_c", unlisted=True, stored=True),
        record("share_d", original_uri="https://elsewhere.example/hidden.png"),
    ]
    given[2].generated_object, given[2].share.generated_uri = "objects/generated/c.png", FILES.uri("generated/c.png")
    first = [await restored(admin, each) for each in given]
    again = [await restored(admin, each) for each in given]

    assert (first, again) == ([True] * 4, [False] * 4)
    for size in (0, 1, 3):
        assert await listed(admin, size) == given
    assert await in_sql(database).reconcile() == 0
    async with serve() as client:
        stats = await client.GetShareStats(sharepb.GetShareStatsRequest())
        assert (stats.total_count, stats.stored_count, stats.published_count) == (4, 1, 1)
        shown = await client.ListShares(sharepb.ListSharesRequest())
        assert [each.name for each in shown.shares] == ["shares/share_a"]  # the policy of these tests
        published = await client.PublishShare(sharepb.PublishShareRequest(name="shares/share_d", token=TOKEN))
        assert published.published


async def test_a_key_follows_the_stack_and_not_the_exporters_url(admin: Admin, serve: Serve) -> None:
    moved = record()
    moved.generated_object = "objects/generated/a.png"
    moved.share.generated_uri = "https://the-old-stack.example/files/generated/a.png"
    await restored(admin, moved)
    async with serve() as client:
        kept = await client.GetShare(sharepb.GetShareRequest(name=moved.share.name))

    assert kept.generated_uri == FILES.uri("generated/a.png")


async def test_a_conflict_is_said_with_its_name_and_reason(admin: Admin, refused: Refused) -> None:
    await restored(admin, record())
    with refused(AlreadyExists, "ID_TAKEN"):
        await restored(admin, record(generated_uri="https://elsewhere.example/another.png"))
    with refused(AlreadyExists, "ID_TAKEN"):
        await restored(admin, record(create_time=LATER))
    with refused(AlreadyExists, "PICTURE_TAKEN"):
        await restored(admin, record("share_other", generated_uri="https://elsewhere.example/share_old.png"))

    assert await listed(admin) == [record()]


async def test_what_was_published_since_stays_published(admin: Admin, serve: Serve) -> None:
    await restored(admin, record())
    async with serve() as client:
        await client.PublishShare(sharepb.PublishShareRequest(name="shares/share_old", token=TOKEN))

    assert await restored(admin, record()) is False
    assert [each.share.published for each in await listed(admin)] == [True]


FUTURE = Timestamp(seconds=START_MS // 1000 + 3600)
ODD: dict[str, dict[str, Any]] = {
    "create_time": {"create_time": FUTURE},
    "publish_time": {"publish_time": FUTURE},
    "generated_uri": {"generated_uri": "javascript:alert(1)"},
    "original_uri": {"original_uri": "/relative"},
    "prompt": {"prompt": "x" * 10_001},
    "style": {"style": "x" * 201},
    "seo.title_en": {"seo": sharepb.Share.Seo(title_ja="x", title_en="x" * 401)},
    "seo.keywords_en": {"seo": sharepb.Share.Seo(title_ja="x", keywords_en=["x"] * 21)},
    "name": {"name": "shares/a b"},
}


@pytest.mark.parametrize("field", ODD)
async def test_a_record_out_of_bounds_names_its_field(admin: Admin, refused: Refused, field: str) -> None:
    with refused(InvalidArgument, "INVALID_INPUT", field):
        await restored(admin, record(**ODD[field]))

    assert await listed(admin) == []


async def test_a_record_without_time_or_with_a_token_of_another_form_is_refused(admin: Admin, refused: Refused) -> None:
    timeless, odd = record(), record()
    timeless.share.ClearField("create_time")
    odd.token_digest = "ptk_plain"
    with refused(InvalidArgument, "INVALID_INPUT", "create_time"):
        await restored(admin, timeless)
    with refused(InvalidArgument, "INVALID_INPUT", "token_digest"):
        await restored(admin, odd)
    with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
        await admin.ListShareRecords(shareadminpb.ListShareRecordsRequest(page_token="x"))


async def test_a_picture_is_not_made_after_it_was_shared(admin: Admin) -> None:
    """Else it would hold the head of the latest until that time has come."""
    await restored(admin, record(generate_time=FUTURE))

    assert [each.share.generate_time for each in await listed(admin)] == [PAST]


async def test_a_share_without_a_token_is_nobodys_to_publish(admin: Admin, serve: Serve, refused: Refused) -> None:
    nobodys = record()
    nobodys.token_digest = ""
    await restored(admin, nobodys)
    async with serve() as client:
        with refused(PermissionDenied, "INVALID_TOKEN"):
            await client.PublishShare(sharepb.PublishShareRequest(name="shares/share_old", token=TOKEN))


async def test_a_record_without_words_for_search_engines_gets_them(admin: Admin) -> None:
    bare = record()
    bare.share.ClearField("seo")
    await restored(admin, bare)
    [kept] = await listed(admin)

    assert kept.share.seo.model_label == "GPT-4o Image"
    assert "Ghibli" in kept.share.seo.title_en
