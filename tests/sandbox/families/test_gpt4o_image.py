"""The 4o image family on the wire."""

import io
import json
import re

import pytest
from PIL import Image

from tests.sandbox.support import Customer, Receiver


def test_a_task_succeeds_in_record_and_callback(customer: Customer, receiver: Receiver, path: str) -> None:
    created = customer.create_4o("a golden cat").json()
    task_id = created["data"]["taskId"]
    running = customer.record_4o(task_id)
    done = customer.finished_4o(task_id)
    (url,) = done["response"]["resultUrls"]

    assert created == {"code": 200, "msg": "success", "data": {"taskId": task_id}}
    assert re.fullmatch(r"[0-9a-f]{32}", task_id)
    param = {"prompt": "a golden cat", "size": "3:2", "callBackUrl": customer.callback}
    assert json.loads(done["paramJson"]) == param
    assert running == {
        "code": 200,
        "msg": "success",
        "data": {
            "taskId": task_id,
            "paramJson": json.dumps(param),
            "completeTime": None,
            "response": None,
            "successFlag": 0,
            "status": "GENERATING",
            "errorCode": None,
            "errorMessage": None,
            "createTime": done["createTime"],
            "progress": running["data"]["progress"],
        },
    }
    assert re.fullmatch(r"0\.\d\d", running["data"]["progress"])
    assert (done["successFlag"], done["status"], done["progress"]) == (1, "SUCCESS", "1.00")
    assert done["completeTime"] == done["createTime"] + 200
    assert receiver.first(path) == {
        "code": 200,
        "msg": "success",
        "data": {"taskId": task_id, "info": {"result_urls": [url]}},
    }
    reply = customer.http.get(url)
    assert reply.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(reply.content)) as image:
        assert (image.format, image.size) == ("PNG", (96, 64))


@pytest.mark.parametrize(
    ("word", "flag", "code", "callback_code"),
    [("fail", 2, 500, 500), ("policy", 2, 400, 400), ("fail451", 2, 451, 451), ("fail3", 3, None, 500)],
)
def test_a_failed_callback_has_no_info(
    customer: Customer, receiver: Receiver, path: str, word: str, flag: int, code: int | None, callback_code: int
) -> None:
    task_id = customer.task_4o(f"sim:{word}")
    record, callback = customer.finished_4o(task_id), receiver.first(path)

    assert (record["successFlag"], record["errorCode"], record["response"]) == (flag, code, None)
    assert record["status"] == "GENERATE_FAILED"
    assert callback == {"code": callback_code, "msg": record["errorMessage"], "data": {"taskId": task_id, "info": None}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prompt": "a cat"}, 422),
        ({"prompt": "a cat", "size": "16:9"}, 422),
        ({"size": "1:1"}, 422),
        ({"prompt": "  ", "size": "1:1"}, 422),
        ({"size": "1:1", "filesUrl": ["https://a.example/1.png"] * 6}, 422),
    ],
)
def test_a_wrong_body_is_refused_inside_http_200(customer: Customer, body: dict[str, object], code: int) -> None:
    reply = customer.post("/api/v1/gpt4o-image/generate", body)

    assert (reply.status_code, reply.json()["code"], reply.json()["data"]) == (200, code, None)


def test_what_is_not_json_is_a_400_in_the_body(customer: Customer) -> None:
    reply = customer.http.post("/api/v1/gpt4o-image/generate", content=b"{")

    assert (reply.status_code, reply.json()["code"]) == (200, 400)


def test_an_input_image_is_enough(customer: Customer) -> None:
    reply = customer.post("/api/v1/gpt4o-image/generate", {"size": "1:1", "filesUrl": ["https://a.example/1.png"]})

    assert reply.json()["code"] == 200


def test_an_unknown_task_is_null(customer: Customer) -> None:
    assert customer.record_4o("nobody") == {"code": 422, "msg": "recordInfo is null", "data": None}


def test_variants_make_several_results(customer: Customer) -> None:
    urls = customer.finished_4o(customer.task_4o("sim:ok,variants:4"))["response"]["resultUrls"]

    assert len({customer.http.get(url).content for url in urls}) == 4


def test_the_result_key_may_be_in_snake_case(customer: Customer) -> None:
    record = customer.finished_4o(customer.task_4o("sim:ok,result_urls"))

    assert list(record["response"]) == ["result_urls"]


def test_completion_may_be_stamped_before_it(customer: Customer) -> None:
    record = customer.record_4o(customer.task_4o("sim:stuck,early-complete"))["data"]

    assert (record["successFlag"], record["completeTime"] is None) == (0, False)


def test_the_same_prompt_gives_the_same_bytes(customer: Customer) -> None:
    tasks = [customer.task_4o(prompt) for prompt in ("twins", "twins", "a stranger")]
    urls = [customer.finished_4o(task)["response"]["resultUrls"][0] for task in tasks]
    one, two, other = (customer.http.get(url).content for url in urls)

    assert one == two
    assert one != other
