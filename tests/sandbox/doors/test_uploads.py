"""The upload doors and the common link (kie.md 5)."""

import base64

import httpx
import pytest

from tests.sandbox.support import Customer

DATA = b"\x89PNG not really"


def test_base64_is_kept(customer: Customer) -> None:
    encoded = f"data:image/png;base64,{base64.b64encode(DATA).decode()}"
    body = {"base64Data": encoded, "uploadPath": "images", "fileName": "cat.png"}
    reply = customer.post("/api/file-base64-upload", body).json()

    assert (reply["success"], reply["code"]) == (True, 200)
    assert set(reply["data"]) == {"fileName", "filePath", "downloadUrl", "fileSize", "mimeType", "uploadedAt"}
    assert reply["data"]["fileSize"] == len(DATA)
    file = customer.http.get(reply["data"]["downloadUrl"])
    assert (file.content, file.headers["content-type"]) == (DATA, "image/png")


def test_a_multipart_file_is_kept(customer: Customer) -> None:
    files = {"file": ("dog.jpg", DATA, "image/jpeg")}
    reply = customer.http.post("/api/file-stream-upload", files=files, data={"uploadPath": "images"}).json()

    assert reply["data"]["mimeType"] == "image/jpeg"
    assert customer.http.get(reply["data"]["downloadUrl"]).content == DATA


def test_a_url_is_stood_for_by_a_picture(customer: Customer) -> None:
    body = {"fileUrl": "https://a.example/cat.png", "uploadPath": "images"}
    reply = customer.post("/api/file-url-upload", body).json()

    assert customer.http.get(reply["data"]["downloadUrl"]).content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/file-base64-upload", {"base64Data": "?", "uploadPath": "images"}),
        ("/api/file-base64-upload", {"base64Data": "aGk="}),
        ("/api/file-url-upload", {"fileUrl": "ftp://a.example/x", "uploadPath": "images"}),
        ("/api/file-stream-upload", {}),
    ],
)
def test_a_wrong_upload_is_a_400(customer: Customer, path: str, body: dict[str, str]) -> None:
    reply = customer.post(path, body)

    assert (reply.status_code, reply.json()["success"], reply.json()["code"]) == (400, False, 400)


def test_a_foreign_key_is_a_401_by_status_too(customer: Customer) -> None:
    reply = customer.http.post("/api/file-url-upload", json={}, headers={"authorization": "Bearer x"})

    assert reply.status_code == 401
    assert reply.json()["msg"] == "Authentication failed: Invalid API Key"


def test_a_nameless_client_may_not_upload(customer: Customer) -> None:
    with httpx.Client(trust_env=False) as client:
        reply = client.send(httpx.Request("POST", f"{customer.http.base_url}/api/file-url-upload"))

    assert (reply.status_code, reply.text) == (403, "error code: 1010")


def test_any_result_gets_a_common_link(customer: Customer) -> None:
    (url,) = customer.finished_4o(customer.task_4o("a common cat"))["response"]["resultUrls"]
    link = customer.post("/api/v1/common/download-url", {"url": url}).json()["data"]

    assert customer.http.get(link).content == customer.http.get(url).content


def test_an_unknown_link_is_refused_by_the_bucket(customer: Customer) -> None:
    reply = customer.get("/kie-generated/s/x.png", **{"X-Amz-Signature": "guess"})

    assert reply.status_code == 403
    assert "AccessDenied" in reply.text
