"""kill -9 on any process in the middle of a generation: it comes back; the picture arrives once and is billed once."""

import httpx
import pytest

from tests.e2e.town import Town, until

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
def test_the_picture_arrives_once_although_a_process_was_killed(town: Town, name: str) -> None:
    prompt = f"a brave mouse, while {name} dies"
    task = town.order(prompt)
    victim = town.process(name)
    victim.kill()
    victim.wait(10)
    url = town.picture(task)

    shown = httpx.get(url).raise_for_status().content
    kept = (town.data / "objects" / "generated").rglob("*.png")
    assert len(town.bills(prompt)) == 1
    assert [path.name for path in kept if path.read_bytes() == shown] == [httpx.URL(url).path.rpartition("/")[2]]
    assert town.process(name).pid != victim.pid
    until(lambda: town.http.get("/readyz").status_code == httpx.codes.OK or None)


def test_a_kill_between_acceptance_and_answer_never_bills_twice(town: Town) -> None:
    """The sandbox takes the order and holds its reply; generation dies, and the callback reunites order and task."""
    prompt = "a mouse on the wire sim:hang-after:6,slow:6"
    with pytest.raises(httpx.HTTPError):
        town.http.post("/api/generate-image", json={"prompt": prompt}, timeout=0.5)
    until(lambda: town.bills(prompt) or None)
    victim = town.process("services.generation")
    victim.kill()
    victim.wait(10)
    until(lambda: town.http.get("/readyz").status_code == httpx.codes.OK or None)

    assert town.picture(town.task_of(prompt))
    assert len(town.bills(prompt)) == 1
