"""A picture's whole way through the real stack, as the original site's front end walks it."""

import io

import httpx
import pytest
from PIL import Image

from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


def test_a_prompt_becomes_a_stored_picture_that_is_shared_and_found(stack: Stack) -> None:
    task = stack.order("a cat that is shared")
    url = stack.picture(task)
    direct = stack.post("/api/download-url", {"url": url, "taskId": task}).json()["downloadUrl"]
    kept = stack.post("/api/download-and-upload", {"url": direct, "taskId": task, "fileName": f"generated_{task}.png"})
    body = {"generatedUrl": kept.json()["publicUrl"], "originalUrl": None, "prompt": "a cat", "style": "watercolor"}
    share = stack.post("/api/share", body).raise_for_status().json()

    assert kept.json()["publicUrl"] == url
    assert httpx.get(url).headers["content-type"] == "image/png"
    assert stack.http.get(f"/api/share/{share['shareId']}").json()["data"]["generatedUrl"] == url
    assert share["shareUrl"].endswith(f"/share?id={share['shareId']}")
    listed = stack.http.get("/api/share/list", params={"limit": 100}).json()["data"]["items"]
    assert share["shareId"] in [item["id"] for item in listed]
    latest = stack.http.get("/api/share/latest").json()["data"]["items"]
    assert share["shareId"] in [item["id"] for item in latest]


def test_flux_changes_an_uploaded_picture(stack: Stack) -> None:
    uploaded = stack.http.post("/api/upload-image", files={"file": ("me.png", png("pink"), "image/png")}).json()
    order = {"prompt": "the same at night", "model": "flux-kontext-max", "inputImage": uploaded["fileUrl"]}
    task = stack.post("/api/flux-kontext/generate", order).raise_for_status().json()["taskId"]
    details = {"params": {"taskId": task}}
    record = until(
        lambda: next(
            (
                d
                for d in [stack.http.get("/api/flux-kontext/image-details", **details).json()]
                if d["status"] == "SUCCESS"
            ),
            None,
        )
    )

    assert record["resultUrls"] == record["data"]["resultUrls"]
    assert Image.open(io.BytesIO(httpx.get(record["resultUrls"][0]).content)).format == "JPEG"
    assert httpx.get(uploaded["fileUrl"]).content == png("pink")


def test_the_callback_alone_has_the_picture_stored(stack: Stack) -> None:
    """No client polls, and the sandbox hides the record from the poller until long after the callback."""
    task = stack.order("nobody looks at me")

    def found() -> dict[str, object] | None:
        answer = stack.http.get("/api/get-generated-url", params={"taskId": task}).json()
        return answer if answer["found"] else None

    answer = until(found)
    assert httpx.get(str(answer["url"])).status_code == httpx.codes.OK
    assert task not in str(answer["url"])


def test_polling_alone_has_the_picture_stored(stack: Stack) -> None:
    assert stack.picture(stack.order("a deaf fox sim:nocallback"))


def test_the_stored_file_is_served_for_ever_in_parts_and_to_any_page(stack: Stack) -> None:
    url = stack.picture(stack.order("a file to be read"))
    whole = httpx.get(url, headers={"Origin": "https://elsewhere.example"})
    part = httpx.get(url, headers={"Range": "bytes=0-7"})

    assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert whole.headers["access-control-allow-origin"] == "*"
    assert part.status_code == httpx.codes.PARTIAL_CONTENT
    assert part.content == whole.content[:8]
    assert httpx.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == httpx.codes.NOT_MODIFIED


def test_a_refusal_that_says_later_is_tried_again_and_billed_once(stack: Stack) -> None:
    prompt = "a patient ox sim:550 then ok"
    assert stack.picture(stack.order(prompt))
    assert len(stack.bills(prompt)) == 1


def test_an_answer_lost_after_acceptance_is_reunited_by_its_callback_and_never_sent_again(stack: Stack) -> None:
    prompt = "a lost letter sim:reset-after"
    task = stack.order(prompt)

    assert stack.picture(task)
    assert len(stack.bills(prompt)) == 1


def test_a_prompt_the_provider_rejects_is_an_error_with_the_provider_s_words(stack: Stack) -> None:
    answer = stack.post("/api/generate-image", {"prompt": "something bad sim:422"})

    assert answer.status_code in range(400, 500)
    assert answer.json()["code"] == "PROVIDER_REJECTED"
    assert stack.bills("something bad sim:422") == []
