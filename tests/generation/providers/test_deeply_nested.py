"""Records nested a thousand deep, as bytes through the real adapters, poller and inbox: their orders end or wait."""

import httpx
import orjson
import pytest
from sqlalchemy import select

from services.chassis.supervisor import supervised
from services.generation.model import State
from services.generation.providers.flux_kontext import FluxKontext
from services.generation.providers.gpt4o_image import Gpt4oImage
from services.generation.providers.kie import FIRST_BYTE, READ, SUBMIT, HttpClient, Kie
from services.generation.providers.market_jobs import MarketJobs
from services.generation.providers.replies import decode, is_foreign, uris_in
from services.generation.stores.tables import work_fault
from services.generation.workers.loops import make_loops
from tests.generation.harness import CONCURRENCY, KIND, Harness
from tests.support.polling import eventually

DEPTH = 1_010  # a parser takes 1,024, and Python's own stack a few less than 1,000
URI = "https://tempfile.aiquickdraw.com/s/a.png"


def nested(name: str, inner: str = "1") -> str:
    """Objects within objects, all under one name."""
    return f'{{"{name}":' * DEPTH + inner + "}" * DEPTH


PLACES = {
    "paramJson": nested("input"),
    "paramJson as text": orjson.dumps(nested("input")).decode(),
    "response": nested("url"),
    "resultJson": orjson.dumps(nested("resultUrls")).decode(),
    "param": nested("input"),
    "progress": nested("a"),
    "status": nested("a"),
    "errorMessage": nested("a"),
    "failMsg": nested("a"),
}
FAMILIES = (Gpt4oImage, FluxKontext, MarketJobs)
FAILS = {"errorMessage": '"successFlag":3', "failMsg": '"state":"fail"'}


def record(place: str) -> bytes:
    """A record that is poisoned in one place, and says that the picture is there."""
    name = place.partition(" ")[0]
    verdict = FAILS.get(place, '"successFlag":1,"state":"success"')
    body = f'{{"code":200,"data":{{{verdict},"{name}":{PLACES[place]}}}}}'
    return body.encode()


class Poisoner:
    """A provider whose records are deeply nested, behind the real adapters."""

    def __init__(self, place: str, *, answers: bool) -> None:
        self.reads = 0
        self.token = ""
        self._record = record(place)
        self._answers = answers
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.kie = Kie("http://provider.example", HttpClient(client, SUBMIT), HttpClient(client, READ))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            await request.extensions["trace"](FIRST_BYTE, {})  # as the real transport does
            self.token = orjson.loads(request.content)["callBackUrl"].rpartition("/")[2]
            taken = b'{"code":200,"data":{"taskId":"task1"}}'
            return httpx.Response(200, content=taken) if self._answers else httpx.Response(502, content=b"<html>")
        self.reads += 1
        return httpx.Response(200, content=self._record)


@pytest.mark.parametrize(
    ("family", "place", "way"),
    [(family, place, "polled") for family in FAMILIES for place in PLACES]
    + [(family, place, "told of by webhook") for family in FAMILIES for place in ("paramJson", "param")],
)
async def test_a_record_nested_a_thousand_deep_never_makes_our_code_fail(
    harness: Harness, family: type[Gpt4oImage | FluxKontext | MarketJobs], place: str, way: str
) -> None:
    """It says nothing, or that the task failed. Its order waits, is overdue, or ends; nothing of it is parked."""
    polled = way == "polled"
    poisoner = Poisoner(place, answers=polled)
    workers = harness.workers
    workers.providers["gpt4o-image"] = family(poisoner.kie)  # type: ignore[index] # the harness's own dictionary
    created = await harness.order()

    async def read_often() -> bool:
        await harness.let_time_pass()
        return poisoner.reads > 2 or (await harness.store.get(created.id)).state is State.FAILED

    async with supervised(make_loops(workers, CONCURRENCY)):
        await eventually(lambda: sent(harness, created.id))
        if not polled:
            await harness.receiver.receive(KIND, poisoner.token, b'{"code":200,"data":{"taskId":"task1"}}', {})
        await eventually(read_often)

    assert await harness.parking.listed() == []
    async with harness.database.read() as connection:
        assert (await connection.execute(select(work_fault))).all() == []
    assert (await harness.store.get(created.id)).state in {State.RUNNING, State.FAILED, State.UNKNOWN}


async def sent(harness: Harness, identifier: str) -> bool:
    return (await harness.store.get(identifier)).state in {State.RUNNING, State.FAILED, State.AMBIGUOUS, State.UNKNOWN}


@pytest.mark.parametrize("place", ["paramJson", "paramJson as text", "param"])
async def test_an_order_nested_a_thousand_deep_quotes_no_prompt(place: str) -> None:
    reply = decode(200, record(place))

    assert not is_foreign(reply, place.partition(" ")[0], "a cat")


async def test_a_callback_nested_a_thousand_deep_names_its_task_all_the_same(harness: Harness) -> None:
    body = f'{{"code":200,"data":{{"taskId":"task1","info":{nested("info")}}}}}'.encode()

    assert await harness.receiver.receive(KIND, "", body, {})


def test_urls_are_found_as_deep_as_any_known_record_holds_them() -> None:
    inner = orjson.dumps({"resultUrls": [URI]}).decode()

    assert uris_in(orjson.dumps({"resultUrls": [inner]}).decode()) == (URI,)
    assert uris_in(orjson.loads(nested("url", f'"{URI}"'))) == ()
