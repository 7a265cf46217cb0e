"""Two storage processes on one PostgreSQL and one bucket; those that could not work together do not start."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.migrations import migrate
from services.storage.settings import StorageSettings
from tests.storage.buckets import environment_of, in_bucket
from tests.storage.samples import picture
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.replicas import SIGNING_KEY, Replica, refusal, replica, replicas
from tests.support.s3 import S3Server

pytestmark = pytest.mark.timeout(300)  # several processes start, also on a busy machine

Request = storagepb.UploadObjectRequest
ARTWORKS = 6
OTHER_KEY = SIGNING_KEY[::-1]


@pytest.fixture(scope="module")
def url(postgres_server: Postgres) -> str:
    url = postgres_server.create_database()
    migrate("storage", StorageSettings(database_url=url, _env_file=None))
    return url


@pytest.fixture
async def two(s3_server: S3Server, postgres_server: Postgres, tmp_path: Path) -> AsyncIterator[list[Replica]]:
    url = postgres_server.create_database()
    settings = StorageSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    await asyncio.to_thread(migrate, "storage", settings)
    bucket = environment_of(in_bucket(settings, s3_server))
    given = {name: value for name, value in bucket.items() if name.startswith("STORAGE_")}
    async with replicas("storage", DATABASE_URL=url, STORAGE_S3_DIRECT_UPLOADS="0", **given) as started:
        yield started


def stub(replica: Replica) -> Any:
    return storagerpc.StorageServiceStub(replica.channel)


async def artwork(body: bytes) -> AsyncIterator[Request]:
    yield Request(spec=Request.UploadSpec(prefix="artworks/original"))
    yield Request(chunk=body)
    yield Request(complete=True)


async def test_an_upload_that_began_at_one_is_sent_to_the_other_and_confirmed_by_the_first(two: list[Replica]) -> None:
    here, there = two
    body = picture()
    wanted = storagepb.CreateUploadLinkRequest(original_name="a.png", content_type="image/png", size_bytes=len(body))
    link = await stub(here).CreateUploadLink(wanted)
    path = httpx.URL(link.uri).path
    async with httpx.AsyncClient(trust_env=False) as client:
        sent = await client.put(f"http://127.0.0.1:{there.files_port}{path}", content=body)
        assert sent.status_code == 201, sent.text
        confirmed = await stub(here).ConfirmUpload(storagepb.ConfirmUploadRequest(object=link.object))
        again = await stub(there).ConfirmUpload(storagepb.ConfirmUploadRequest(object=link.object))
        read = await client.get(f"http://127.0.0.1:{there.files_port}/files/{link.object.removeprefix('objects/')}")

    assert confirmed == again
    assert read.content == body


async def test_each_thumbnail_is_made_once_and_by_the_other_when_one_has_died(two: list[Replica]) -> None:
    for number in range(ARTWORKS):
        await stub(two[number % 2]).UploadObject(artwork(picture(seed=str(number))))

    async def thumbs() -> bool:
        listed = await stub(two[1]).ListObjects(storagepb.ListObjectsRequest(prefix="artworks/thumb/", page_size=50))
        return len(listed.objects) == expected

    expected = ARTWORKS
    await eventually(thumbs)
    assert sum([await each.metric("kawaii_thumbnails_total") for each in two]) == ARTWORKS

    await stub(two[0]).UploadObject(artwork(picture(seed="last")))
    await two[0].die()
    expected += 1
    await eventually(thumbs)


async def test_a_replica_with_another_signing_key_or_another_folder_does_not_start(url: str, tmp_path: Path) -> None:
    given = {"DATABASE_URL": url, "STORAGE_DIR": str(tmp_path / "objects")}
    async with replica("storage", **given), replica("storage", **given):  # one folder may have two processes
        code, said = await refusal("storage", **given, SIGNING_KEY=OTHER_KEY)
        assert (code, "SIGNING_KEY" in said) == (78, True)
        code, said = await refusal("storage", **given | {"STORAGE_DIR": str(tmp_path / "another")})
        assert (code, "STORAGE_DIR" in said) == (78, True)

    async with replica("storage", **given, SIGNING_KEY=OTHER_KEY, SIGNING_KEY_PREVIOUS=SIGNING_KEY):
        pass
    code, _ = await refusal("storage", **given)
    assert code == 78
