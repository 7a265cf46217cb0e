"""A picture's whole way through the real town, as the original site's front end walks it."""

import io

import httpx
import pytest
from PIL import Image

from tests.e2e.town import Town, until

pytestmark = pytest.mark.e2e


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


def test_a_prompt_becomes_a_stored_picture_that_is_shared_and_found(town: Town) -> None:
    task = town.order("a cat that is shared")
    url = town.picture(task)
    direct = town.post("/api/download-url", {"url": url, "taskId": task}).json()["downloadUrl"]
    kept = town.post("/api/download-and-upload", {"url": direct, "taskId": task, "fileName": f"generated_{task}.png"})
    body = {"generatedUrl": kept.json()["publicUrl"], "originalUrl": None, "prompt": "a cat", "style": "watercolor"}
    share = town.post("/api/share", body).raise_for_status().json()

    assert kept.json()["publicUrl"] == url
    assert httpx.get(url).headers["content-type"] == "image/png"
    assert town.http.get(f"/api/share/{share['shareId']}").json()["data"]["generatedUrl"] == url
    assert share["shareUrl"].endswith(f"/share?id={share['shareId']}")
    listed = town.http.get("/api/share/list", params={"limit": 100}).json()["data"]["items"]
    assert share["shareId"] in [item["id"] for item in listed]
    latest = town.http.get("/api/share/latest").json()["data"]["items"]
    assert share["shareId"] in [item["id"] for item in latest]


def test_flux_changes_an_uploaded_picture(town: Town) -> None:
    uploaded = town.http.post("/api/upload-image", files={"file": ("me.png", png("pink"), "image/png")}).json()
    order = {"prompt": "the same at night", "model": "flux-kontext-max", "inputImage": uploaded["fileUrl"]}
    task = town.post("/api/flux-kontext/generate", order).raise_for_status().json()["taskId"]
    details = {"params": {"taskId": task}}
    record = until(
        lambda: next(
            (
                d
                for d in [town.http.get("/api/flux-kontext/image-details", **details).json()]
                if d["status"] == "SUCCESS"
            ),
            None,
        )
    )

    assert record["resultUrls"] == record["data"]["resultUrls"]
    assert Image.open(io.BytesIO(httpx.get(record["resultUrls"][0]).content)).format == "JPEG"
    assert httpx.get(uploaded["fileUrl"]).content == png("pink")


def test_the_callback_alone_has_the_picture_stored(town: Town) -> None:
    """No client polls, and the sandbox hides the record from the poller until long after the callback."""
    task = town.order("nobody looks at me")

    def found() -> dict[str, object] | None:
        answer = town.http.get("/api/get-generated-url", params={"taskId": task}).json()
        return answer if answer["found"] else None

    answer = until(found)
    assert httpx.get(str(answer["url"])).status_code == httpx.codes.OK
    assert task not in str(answer["url"])


def test_polling_alone_has_the_picture_stored(town: Town) -> None:
    assert town.picture(town.order("a deaf fox sim:nocallback"))


def test_the_stored_file_is_served_for_ever_in_parts_and_to_any_page(town: Town) -> None:
    url = town.picture(town.order("a file to be read"))
    whole = httpx.get(url, headers={"Origin": "https://elsewhere.example"})
    part = httpx.get(url, headers={"Range": "bytes=0-7"})

    assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert whole.headers["access-control-allow-origin"] == "*"
    assert part.status_code == httpx.codes.PARTIAL_CONTENT
    assert part.content == whole.content[:8]
    assert httpx.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == httpx.codes.NOT_MODIFIED


def test_a_refusal_that_says_later_is_tried_again_and_billed_once(town: Town) -> None:
    prompt = "a patient ox sim:550 then ok"
    assert town.picture(town.order(prompt))
    assert len(town.bills(prompt)) == 1


def test_an_answer_lost_after_acceptance_is_reunited_by_its_callback_and_never_sent_again(town: Town) -> None:
    prompt = "a lost letter sim:reset-after"
    task = town.order(prompt)

    assert town.picture(task)
    assert len(town.bills(prompt)) == 1


def test_a_prompt_the_provider_rejects_is_an_error_with_the_provider_s_words(town: Town) -> None:
    answer = town.post("/api/generate-image", {"prompt": "something bad sim:422"})

    assert answer.status_code in range(400, 500)
    assert answer.json()["code"] == "PROVIDER_REJECTED"
    assert town.bills("something bad sim:422") == []
