"""Results, direct links and uploads as a client gets them."""

import base64

import httpx
import pytest

from tests.sandbox.support import Customer

DATA = b"\x89PNG not really"


def test_the_file_host_may_deny_a_result_and_the_links_to_it_for_a_while(customer: Customer) -> None:
    task_id = customer.task_4o("sim:ok,denied-result:3600")
    (url,) = customer.finished_4o(task_id)["response"]["resultUrls"]
    link = customer.post("/api/v1/common/download-url", {"url": url}).json()["data"]

    assert [customer.http.get(place).status_code for place in (url, link)] == [403, 403]


def test_the_file_host_may_be_away_for_one_task_or_for_all(customer: Customer) -> None:
    (away,) = customer.finished_4o(customer.task_4o("sim:ok,away-result:3600"))["response"]["resultUrls"]
    (good,) = customer.finished_4o(customer.task_4o("a cat"))["response"]["resultUrls"]
    with pytest.raises(httpx.ReadError):
        customer.http.get(away)
    assert customer.http.get(good).status_code == 200

    customer.post("/sandbox/switches", {"files": "away"})
    with pytest.raises(httpx.ReadError):
        customer.http.get(good)
    customer.post("/sandbox/switches", {"files": "up"})
    assert customer.http.get(good).status_code == 200


@pytest.mark.parametrize(
    ("word", "status"), [("expired-result", 404), ("html-result", 200), ("redirect-result:http://127.0.0.1:9/x", 302)]
)
def test_a_result_may_be_gone_or_a_page_or_a_redirect(customer: Customer, word: str, status: int) -> None:
    (url,) = customer.finished_4o(customer.task_4o(f"sim:ok,{word}"))["response"]["resultUrls"]
    reply = customer.http.get(url)

    assert reply.status_code == status
    assert not reply.headers["content-type"].startswith("image/") if status == 200 else True
    assert reply.headers.get("location", "") == ("http://127.0.0.1:9/x" if status == 302 else "")


def test_a_result_may_be_cut_in_half(customer: Customer) -> None:
    (url,) = customer.finished_4o(customer.task_4o("sim:ok,truncated-result"))["response"]["resultUrls"]

    with pytest.raises(httpx.RemoteProtocolError):
        customer.http.get(url)


def test_a_direct_link_serves_the_same_bytes(customer: Customer) -> None:
    task_id = customer.task_4o("a linked cat")
    (url,) = customer.finished_4o(task_id)["response"]["resultUrls"]
    link = customer.post("/api/v1/gpt4o-image/download-url", {"taskId": task_id, "url": url}).json()["data"]

    assert "X-Amz-Expires=1200" in link
    assert customer.http.get(link).content == customer.http.get(url).content


def test_a_direct_link_without_a_task_is_refused_in_chinese(customer: Customer) -> None:
    reply = customer.post("/api/v1/gpt4o-image/download-url", {"url": "https://a.example/1.png"}).json()

    assert (reply["code"], reply["msg"]) == (422, "任务id不能为空")


def test_the_form_of_the_link_in_kies_quickstart_fails(customer: Customer) -> None:
    reply = customer.post("/api/v1/gpt4o-image/download-url", {"taskId": "x", "imageUrl": "https://a.example"}).json()

    assert (reply["code"], reply["msg"]) == (500, "Internal Server Error")


def test_a_client_without_user_agent_gets_no_result(customer: Customer) -> None:
    (url,) = customer.finished_4o(customer.task_4o("a shy cat"))["response"]["resultUrls"]
    request = httpx.Request("GET", url)

    with httpx.Client(trust_env=False) as client:
        reply = client.send(request)

    assert (reply.status_code, reply.text) == (403, "error code: 1010")


def test_a_base64_upload_can_be_read(customer: Customer) -> None:
    encoded = f"data:image/png;base64,{base64.b64encode(DATA).decode()}"
    body = {"base64Data": encoded, "uploadPath": "images", "fileName": "cat.png"}
    reply = customer.post("/api/file-base64-upload", body).json()

    assert (reply["success"], reply["code"]) == (True, 200)
    assert set(reply["data"]) == {"fileName", "filePath", "downloadUrl", "fileSize", "mimeType", "uploadedAt"}
    assert reply["data"]["fileSize"] == len(DATA)
    file = customer.http.get(reply["data"]["downloadUrl"])
    assert (file.content, file.headers["content-type"]) == (DATA, "image/png")


def test_a_multipart_upload_can_be_read(customer: Customer) -> None:
    files = {"file": ("dog.jpg", DATA, "image/jpeg")}
    reply = customer.http.post("/api/file-stream-upload", files=files, data={"uploadPath": "images"}).json()

    assert reply["data"]["mimeType"] == "image/jpeg"
    assert customer.http.get(reply["data"]["downloadUrl"]).content == DATA


def test_an_upload_by_url_is_a_drawn_picture(customer: Customer) -> None:
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


def test_a_client_without_user_agent_may_not_upload(customer: Customer) -> None:
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
