"""The real process: it stops gracefully and survives `kill -9`."""

import signal
from pathlib import Path

import httpx

from tests.sandbox.support import QUICK, Process, Receiver
from tests.support.polling import until
from tests.support.ports import free_base

HEADERS = {"authorization": "Bearer sandbox-phoenix"}


def post(process: Process, prompt: str, callback: str = "") -> httpx.Response:
    body = {"prompt": prompt, "size": "1:1", "callBackUrl": callback}
    return httpx.post(f"{process.url}/api/v1/gpt4o-image/generate", json=body, headers=HEADERS, trust_env=False)


def test_kill_9_in_the_middle_of_a_task_loses_nothing(tmp_path: Path, receiver: Receiver, path: str) -> None:
    process = Process(tmp_path, free_base(), QUICK)
    process.start()
    post(process, "a phoenix sim:429 then slow:2", f"{receiver.url}{path}")
    task_id = post(process, "a phoenix sim:429 then slow:2", f"{receiver.url}{path}").json()["data"]["taskId"]
    process.stop(signal.SIGKILL)
    process.start()

    callback = receiver.first(path)
    record = httpx.get(
        f"{process.url}/api/v1/gpt4o-image/record-info", params={"taskId": task_id}, headers=HEADERS, trust_env=False
    ).json()
    ledger = httpx.get(f"{process.url}/sandbox/ledger", trust_env=False).json()
    third = post(process, "a phoenix sim:429 then slow:2").json()
    assert process.stop() == 0

    assert callback["data"]["taskId"] == task_id
    assert record["data"]["successFlag"] == 1
    assert [entry["task_id"] for entry in ledger["entries"]] == [task_id]
    assert third["code"] == 200, "the script went on where it was"


def test_a_pending_retry_is_sent_after_a_restart(tmp_path: Path, receiver: Receiver, path: str) -> None:
    process = Process(tmp_path, free_base(), QUICK | {"SANDBOX_CALLBACK_RETRY_SECONDS": "2"})
    receiver.statuses[path] = [500]
    process.start()
    post(process, "a stubborn phoenix", f"{receiver.url}{path}")
    receiver.first(path)
    until(
        lambda: httpx.get(f"{process.url}/sandbox/ledger", trust_env=False).json()["entries"][0]["state"] == "success"
    )
    process.stop(signal.SIGKILL)
    process.start()

    until(lambda: len(receiver.bodies[path]) == 2)
    assert process.stop() == 0
