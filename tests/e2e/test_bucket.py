"""The whole stack with its bytes in a bucket: pictures are made, their links serve the bytes, and health is true."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import Stack, running
from tests.support.s3 import S3Server

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.create_bucket()


@pytest.fixture(scope="module")
def stack(s3_server: S3Server, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("bucket-stack")
    settings = {
        "STORAGE_MODE": "s3",
        "STORAGE_S3_ENDPOINT": s3_server.endpoint,
        "STORAGE_S3_BUCKET": bucket,
        "STORAGE_S3_ACCESS_KEY_ID": s3_server.access_key,
        "STORAGE_S3_SECRET_ACCESS_KEY": s3_server.secret_key,
        "SANDBOX_GENERATION_SECONDS": "0.5",
        "SANDBOX_IMAGE_SIDE": "256",
    }
    with running(folder / "data", **settings) as started:
        yield started


def test_a_picture_made_into_a_bucket_is_served_by_its_public_link(
    stack: Stack, s3_server: S3Server, bucket: str
) -> None:
    url = stack.picture(stack.order("a cat that lives in a bucket"))
    answer = httpx.get(url, headers={"Range": "bytes=0-7"})
    whole = httpx.get(url)
    key = url.partition("/files/")[2]
    client = s3_server.client()
    stored = client.get_object(Bucket=bucket, Key=key)

    with stored["Body"] as body:
        assert whole.content == body.read()
    client.close()
    assert (answer.status_code, answer.content) == (206, b"\x89PNG\r\n\x1a\n")
    assert whole.headers["etag"] == f'"{stored["Metadata"]["sha256"]}"'
    assert stored["ContentType"] == "image/png"
    assert {name.lower() for name in stored["Metadata"]} == {
        "source",
        "uploadedat",
        "filesize",
        "sha256",
    }  # nothing of people
    assert httpx.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert not (stack.data / "objects").exists()


def test_an_upload_lies_in_the_bucket_too(stack: Stack) -> None:
    made = httpx.get(stack.picture(stack.order("something to send back"))).content
    answer = stack.http.post("/api/upload-image", files={"file": ("cat.png", made, "image/png")}).raise_for_status()

    assert httpx.get(answer.json()["fileUrl"]).content == made


def test_health_and_the_seeds_diagnosis_say_that_the_bucket_works(stack: Stack) -> None:
    """That they say so when it does not: tests/storage/test_outage.py and tests/gateway."""
    assert stack.http.get("/api/health").json()["r2Storage"]
    assert stack.http.get("/api/check-r2-config").json()["r2Config"]["uploadBucketConfigured"]
