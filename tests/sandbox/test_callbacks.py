"""How callbacks are signed, repeated and given up."""

import asyncio
import base64
import itertools
import time

import httpx
import pytest

from services.sandbox.callbacks import Sender, sign
from services.sandbox.families import FAMILIES
from services.sandbox.store import Clock
from tests.sandbox.support import DEADLINE_SECONDS, HMAC_KEY, RULES, START_MS, Customer, InProcess, Receiver
from tests.support.polling import until


@pytest.mark.parametrize(
    ("task_id", "timestamp", "signature"),
    [
        ("0123456789abcdef0123456789abcdef", 1760000000, "ynOm+XV/WnzRbfOeUpCK9Res2m82Jtb12wGtz0XKY24="),
        ("task_google_1760000000000", 1760000015, "MV75juuBj/G7LOoiupPfP4BAklVzIac0m7F96yfCB4Q="),
    ],
)
def test_signatures_equal_the_known_vectors(task_id: str, timestamp: int, signature: str) -> None:
    assert sign(HMAC_KEY, task_id, timestamp) == signature


def test_a_callback_is_signed_with_the_present_time(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("a signed cat")
    receiver.first(path)
    headers = receiver.headers[path][0]
    timestamp = int(headers["x-webhook-timestamp"])

    assert headers["x-webhook-signature"] == sign(HMAC_KEY, task_id, timestamp)
    assert abs(timestamp - time.time()) < 60
    assert headers["content-type"] == "application/json"


def test_badsig_carries_a_wrong_signature(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("sim:ok,badsig")
    receiver.first(path)
    headers = receiver.headers[path][0]

    assert len(base64.b64decode(headers["x-webhook-signature"])) == 32
    assert headers["x-webhook-signature"] != sign(HMAC_KEY, task_id, int(headers["x-webhook-timestamp"]))


def test_nosig_carries_no_signature(customer: Customer, receiver: Receiver, path: str) -> None:
    customer.task_4o("sim:ok,nosig")
    receiver.first(path)

    assert receiver.headers[path][0]["x-webhook-signature"] is None
    assert receiver.headers[path][0]["x-webhook-timestamp"] is None


def test_stalesig_is_right_but_old(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("sim:ok,stalesig")
    receiver.first(path)
    headers = receiver.headers[path][0]
    timestamp = int(headers["x-webhook-timestamp"])

    assert headers["x-webhook-signature"] == sign(HMAC_KEY, task_id, timestamp)
    assert time.time() - timestamp > 300


def test_a_refused_callback_is_tried_again(customer: Customer, receiver: Receiver, path: str) -> None:
    receiver.statuses[path] = [500, 404]
    task_id = customer.task_4o("a patient cat")

    until(lambda: len(customer.deliveries(task_id)) == 3)

    assert [(d["number"], d["status"]) for d in customer.deliveries(task_id)] == [(1, 500), (2, 404), (3, 200)]


def test_a_callback_is_given_up_after_three_more_attempts(customer: Customer, receiver: Receiver, path: str) -> None:
    receiver.statuses[path] = [500] * 5
    task_id = customer.task_4o("an unheard cat")
    until(lambda: len(customer.deliveries(task_id)) == 4)
    marker = customer.task_4o("a cat after that sim:ok,slow:0.5")
    until(lambda: customer.deliveries(marker))

    assert [d["status"] for d in customer.deliveries(task_id)] == [500, 500, 500, 500]


def test_an_unreachable_receiver_is_logged(customer: Customer) -> None:
    reply = customer.create_4o("a lonely cat", callBackUrl="playground")
    task_id = reply.json()["data"]["taskId"]

    deliveries = until(lambda: customer.deliveries(task_id))
    assert deliveries[0]["status"] == 0
    assert deliveries[0]["error"]


def test_dupcallback_delivers_the_same_again(customer: Customer, receiver: Receiver, path: str) -> None:
    customer.task_4o("sim:ok,dupcallback:3")

    until(lambda: len(receiver.bodies[path]) == 3)
    assert receiver.bodies[path][0] == receiver.bodies[path][2]


def test_failcb_then_ok_contradicts_the_record(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("sim:ok,failcb-then-ok")

    until(lambda: len(receiver.bodies[path]) == 2)
    assert [body["code"] for body in receiver.bodies[path]] == [500, 200]
    assert customer.finished_4o(task_id)["successFlag"] == 1


def test_nocallback_plans_no_callback(customer: Customer) -> None:
    task_id = customer.task_4o("sim:ok,nocallback")
    customer.finished_4o(task_id)

    assert customer.get(f"/sandbox/tasks/{task_id}").json()["deliveries_planned"] == 0


def test_late_callback_comes_after_the_result(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("sim:ok,late-callback:0.4")
    completed = customer.finished_4o(task_id)["completeTime"]
    receiver.first(path)

    at_ms = until(lambda: customer.deliveries(task_id))[0]["at_ms"]
    assert at_ms >= completed + 400


def test_callback_first_arrives_before_the_reply(customer: Customer, receiver: Receiver, path: str) -> None:
    task_id = customer.task_4o("sim:callback-first")

    assert [body["data"]["taskId"] for body in receiver.bodies[path]] == [task_id]


async def test_a_callback_that_becomes_due_while_the_sender_reads_is_sent(sandbox: InProcess) -> None:
    """Each reading of the clock takes a millisecond here; a callback due between two readings once waited a minute."""
    task = sandbox.create()
    readings = itertools.count(START_MS + RULES.generation_ms - 1)
    clock = Clock(sandbox.store, lambda: next(readings))
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        sender = Sender(sandbox.store, sandbox.tasks, clock, FAMILIES, client, key="", retry_delays=())
        sending = asyncio.create_task(sender.run())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await sender.first_attempt(task.id)
        sending.cancel()
        await asyncio.wait([sending])

    assert [attempt["status"] for attempt in sandbox.store.attempts(task.id)] == [200]
