"""kill -9 on any process in the middle of a generation: it comes back; the picture arrives once and is billed once."""

import httpx
import pytest

from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e

PROCESSES = (
    "services.generation",
    "services.storage",
    "services.share",
    "services.sandbox",
    "gateway",
    "valkey-server",
    "envoy",
)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_picture_arrives_once_although_a_process_was_killed(stack: Stack, name: str) -> None:
    prompt = f"a brave mouse, while {name} dies"
    task = stack.order(prompt)
    victim = stack.process(name)
    victim.kill()
    victim.wait(10)
    url = stack.picture(task)

    shown = httpx.get(url).raise_for_status().content
    kept = (stack.data / "objects" / "generated").rglob("*.png")
    assert len(stack.bills(prompt)) == 1
    assert [path.name for path in kept if path.read_bytes() == shown] == [httpx.URL(url).path.rpartition("/")[2]]
    assert stack.process(name).pid != victim.pid
    until(lambda: stack.http.get("/readyz").status_code == httpx.codes.OK or None)


def test_a_kill_between_acceptance_and_answer_never_bills_twice(stack: Stack) -> None:
    """The sandbox takes the order and holds its reply; generation dies, and the callback reunites order and task."""
    prompt = "a mouse on the wire sim:hang-after:6,slow:6"
    with pytest.raises(httpx.HTTPError):
        stack.http.post("/api/generate-image", json={"prompt": prompt}, timeout=0.5)
    until(lambda: stack.bills(prompt) or None)
    victim = stack.process("services.generation")
    victim.kill()
    victim.wait(10)
    until(lambda: stack.http.get("/readyz").status_code == httpx.codes.OK or None)

    assert stack.picture(stack.task_of(prompt))
    assert len(stack.bills(prompt)) == 1
