"""What KIE's replies mean, to a create and for a record of each family: tables, real payloads in golden/, fuzzers.

Records nested a thousand deep go as bytes through the real adapters, poller and inbox: their orders end or wait.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from services.chassis.supervisor import supervised
from services.generation.model import State
from services.generation.outcomes import (
    Accepted,
    Ambiguous,
    Completed,
    InProgress,
    Later,
    NotSent,
    NotVisible,
    Outcome,
    Record,
    Refused,
    Rejected,
    TaskFailed,
    Unreadable,
)
from services.generation.providers import PROVIDERS, gpt4o_image
from services.generation.providers.flux_kontext import FluxKontext
from services.generation.providers.gpt4o_image import Gpt4oImage
from services.generation.providers.kie import FIRST_BYTE, READ, SUBMIT, HttpClient, Kie
from services.generation.providers.market_jobs import MarketJobs
from services.generation.providers.replies import (
    MAX_DEPTH,
    MAX_REPLY_BYTES,
    MAX_TASK_ID_LENGTH,
    NonJson,
    Reply,
    by_flag,
    classify,
    decode,
    is_foreign,
    number,
    percent,
    record_in,
    seconds,
    uris_in,
)
from services.generation.stores.tables import work_fault
from services.generation.workers.loops import make_loops
from tests.generation.harness import CONCURRENCY, KIND, Harness
from tests.support.polling import eventually
from tests.support.sql import fetch_all

TASK = "62eb3f00112233445566778899aabbcc"


def answered(document: Any, status: int = 200, retry_after: str = "") -> Outcome:
    return classify(decode(status, json.dumps(document).encode(), retry_after))


def body(code: Any, message: str = "", data: Any = None) -> dict[str, Any]:
    return {"code": code, "msg": message, "data": data}


# Code and message inside HTTP 200, as KIE answers, and what it means (docs/provider.md#codes-in-bodies).
MEANINGS: list[tuple[int, str, type[Outcome]]] = [
    (400, "not valid JSON", Rejected),
    (401, "You do not have access permissions", Refused),
    (402, "Credits insufficient : please top up", Refused),
    (404, "Not found", Rejected),
    (405, "Method not allowed", Ambiguous),
    (408, "upstream silent", Ambiguous),
    (422, "The model name you specified is not supported", Rejected),
    (422, "prompt cannot be empty", Rejected),
    (429, "Rate limit exceeded", Refused),
    (430, "Call frequency", Refused),
    (433, "sub-key cap", Refused),
    (451, "image could not be fetched", Rejected),
    (455, "maintenance", Refused),
    (500, "Server error", Ambiguous),
    (500, "", Ambiguous),
    (500, "prompt is required", Rejected),
    (500, "This field is required", Rejected),
    (500, "This interface is temporarily paused.", Rejected),
    (500, "Your call frequency is too high. Please try again later.", Refused),
    (501, "Generation failed", Ambiguous),
    (502, "bad gateway", Ambiguous),
    (505, "feature disabled", Refused),
    (524, "timeout", Ambiguous),
    (531, "credit returned", Ambiguous),
    (550, "queue full", Refused),
    (0, "", Ambiguous),
    (-1, "", Ambiguous),
    (999, "", Ambiguous),
    (201, "created", Ambiguous),
]


@pytest.mark.parametrize(("code", "message", "meaning"), MEANINGS)
def test_a_code_means(code: int, message: str, meaning: type[Outcome]) -> None:
    outcome = answered(body(code, message))

    assert type(outcome) is meaning
    assert not isinstance(outcome, Refused | Rejected) or outcome.code == code


@pytest.mark.parametrize(("code", "message", "meaning"), [row for row in MEANINGS if row[0] in {401, 402, 422, 429}])
def test_the_same_code_as_http_status_means_the_same(code: int, message: str, meaning: type[Outcome]) -> None:
    assert type(answered(body(code, message), status=code)) is meaning
    assert type(answered({"msg": message}, status=code)) is meaning


@pytest.mark.parametrize("code", [200, "200", 200.0])
@pytest.mark.parametrize("status", [200, 201, 502])
@pytest.mark.parametrize("document", [{"data": {"taskId": TASK}}, {"taskId": TASK}, {"data": None, "taskId": TASK}])
def test_a_yes_with_an_id_is_accepted(code: Any, status: int, document: dict[str, Any]) -> None:
    assert answered({"code": code, **document}, status) == Accepted(TASK)


@pytest.mark.parametrize("record", [{"taskId": TASK, "recordId": "r"}])
def test_other_fields_do_not_disturb(record: dict[str, str]) -> None:
    assert answered(body(200, "success", record)) == Accepted(TASK)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [],
        "",
        TASK,
        {"taskId": ""},
        {"taskId": None},
        {"taskId": 7},
        {"taskId": [TASK]},
        {"taskId": {}},
        {"taskId": "x" * (MAX_TASK_ID_LENGTH + 1)},
        {"taskId": "a\x00b"},
        {"taskId": "a\nb"},
        {"task_id": TASK},
    ],
)
def test_a_yes_without_a_usable_id_proves_nothing(data: Any) -> None:
    assert type(answered(body(200, "success", data))) is Ambiguous


PAGES = [
    b"",
    b"<html><head><title>524: A timeout occurred</title></head></html>",
    b"<!DOCTYPE html><title>502 Bad Gateway</title>",
    b"error code: 1010",
    b"upstream connect error or disconnect/reset before headers",
    b'{"code":200,"data":{"taskId":"' + TASK.encode() + b'"',
    b'{"code":NaN}',
    b'{"code":200,}',
    b"null",
    b"true",
    b"200",
    b'"success"',
    b"[]",
    b'[{"code":200,"data":{"taskId":"a"}}]',
    b"\xff\xfe{\x00}\x00",
    b'{"code":429',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    gzip.compress(b'{"code":429}'),
]


@pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 422, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_is_no_json_object_proves_nothing(status: int, page: bytes) -> None:
    """Whatever its status says: an edge speaks there, and the order may have gone through.

    See docs/provider.md#http-statuses.
    """
    assert type(classify(decode(status, page))) is Ambiguous


@pytest.mark.parametrize(
    "reply",
    [
        decode(200, b"<html>busy</html>"),
        decode(200, b'{"code": 200, "data": null}'),
        decode(200, b'{"data": {"paramJson": {"prompt": "a dog"}}}'),
        Later("the provider is away"),
    ],
)
def test_what_is_no_record_of_the_providers_quotes_no_prompt(reply: Reply | NonJson | Later) -> None:
    """Without a code a CDN may have answered, with whatever it keeps."""
    assert not is_foreign(reply, "paramJson", "a cat")


def test_a_record_that_quotes_another_prompt_is_foreign() -> None:
    reply = decode(200, b'{"code": 200, "data": {"paramJson": {"prompt": "a dog"}}}')

    assert is_foreign(reply, "paramJson", "a cat")
    assert not is_foreign(reply, "paramJson", " a  dog\n")


def test_urls_are_sought_no_deeper_than_a_bound() -> None:
    """Each list in a text is two levels."""
    texts = [URI]
    for _ in range(MAX_DEPTH):
        texts.append(orjson.dumps([texts[-1]]).decode())

    assert [depth for depth, text in enumerate(texts) if uris_in(text)] == list(range(MAX_DEPTH // 2 + 1))


def test_an_empty_object_proves_nothing() -> None:
    assert type(answered({})) is Ambiguous


@pytest.mark.parametrize("code", [True, None, [], {}, "ok", "", 1e300, "9" * 4000, "9" * 5000])
def test_an_odd_code_counts_as_none(code: Any) -> None:
    assert type(answered({"code": code, "msg": "x"}, status=200)) is Ambiguous
    assert type(answered({"code": code, "msg": "x"}, status=429)) is Refused


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_with_validation_words_proves_nothing(status: int) -> None:
    """Only inside HTTP 200 does a 500 say that the order is wrong (docs/provider.md#messages)."""
    assert type(answered(body(500, "prompt is required"), status)) is Ambiguous


@pytest.mark.parametrize("message", ["Failed: 'a radio frequency antenna'", "frequency"])
def test_a_word_of_the_prompt_is_no_refusal(message: str) -> None:
    """An error may quote the prompt; to take that for throttling would send the order again."""
    assert type(answered(body(500, message))) is Ambiguous


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (body(500, "Prompt refused: my call frequency is too high"), 200),
        (body(500, "A drawing of the call frequency"), 200),
        (body(500, "Your call frequency is too high."), 500),
        (body(408, "Your call frequency is too high."), 200),
        (body(500, "Your call frequency is too high.", {"taskId": TASK}), 200),
        ({"msg": "Your call frequency is too high."}, 500),
    ],
)
def test_words_about_the_call_frequency_are_no_refusal_in_another_shape(document: dict[str, Any], status: int) -> None:
    """An order that is taken for refused is sent again, and billed again."""
    assert type(answered(document, status)) is Ambiguous


@pytest.mark.parametrize("code", [400, 422, 500])
def test_the_sentence_about_the_call_frequency_is_a_refusal_under_kies_codes(code: int) -> None:
    assert answered(body(code, "call frequency is too high, slow down")) == Refused(
        code, "call frequency is too high, slow down"
    )


@pytest.mark.parametrize("key", ["msg", "message"])
def test_the_sentence_has_two_names(key: str) -> None:
    assert answered({"code": 422, key: "size is wrong"}) == Rejected(422, "size is wrong")


def test_a_refusal_without_a_sentence_gets_one() -> None:
    outcome = answered({"code": 422})

    assert isinstance(outcome, Rejected)
    assert outcome.message


def test_a_long_sentence_is_cut() -> None:
    outcome = answered(body(422, "x" * 10_000))

    assert isinstance(outcome, Rejected)
    assert len(outcome.message) == 300


def test_a_sentence_can_be_kept_by_postgresql() -> None:
    outcome = answered(body(422, "a\x00b"))

    assert outcome == Rejected(422, "ab")


@pytest.mark.parametrize(
    ("header", "delay"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds(header: str, delay: float | None) -> None:
    outcome = answered(body(429), retry_after=header)

    assert isinstance(outcome, Refused)
    assert outcome.retry_after == delay


@given(st.binary(max_size=200), st.integers(100, 599), st.text(max_size=20))
def test_no_bytes_are_too_odd(raw: bytes, status: int, retry_after: str) -> None:
    assert type(classify(decode(status, raw, retry_after))) in {Accepted, Refused, Rejected, Ambiguous}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)

ENVELOPE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("code", "msg", "message", "data", "taskId", "success"), JSON)
)


@given(ENVELOPE | JSON, st.sampled_from([200, 400, 401, 402, 404, 422, 429, 500, 502, 524]))
def test_no_reply_is_taken_for_more_than_it_says(document: Any, status: int) -> None:
    reply = json.dumps(document).encode()
    outcome = classify(decode(status, reply))

    assert not isinstance(outcome, NotSent)
    if isinstance(outcome, Accepted):
        data = document.get("data")
        assert outcome.task_id in ((data if isinstance(data, dict) else {}).get("taskId"), document.get("taskId"))
        assert 0 < len(outcome.task_id) <= MAX_TASK_ID_LENGTH
    if not isinstance(document, dict):
        assert isinstance(outcome, Ambiguous)


@given(JSON)
def test_a_number_is_whole_and_fits_a_column(value: Any) -> None:
    read = number(value)

    assert read is None or abs(read) < 2**31


@given(st.text(max_size=30))
def test_a_delay_is_never_negative(text: str) -> None:
    read = seconds(text)

    assert read is None or read >= 0


def test_the_bound_of_a_reply_is_a_quarter_megabyte() -> None:
    assert MAX_REPLY_BYTES == 256 * 1024


GOLDEN = Path(__file__).parents[1] / "golden"

NOBODY: Any = None  # reading a record asks no client
READERS = {provider.family: provider(NOBODY)._record_of for provider in PROVIDERS}

CASES = [
    pytest.param(family, case["reply"], case["means"], id=f"{family}: {case['case']}")
    for family in READERS
    for case in json.loads((GOLDEN / f"{family}.json").read_text(encoding="utf-8"))
]

URI = "https://tempfile.aiquickdraw.com/s/a.png"

every_family = pytest.mark.parametrize("family", READERS)


def read(family: str, reply: Any, status: int = 200) -> Record:
    return record_in(decode(status, json.dumps(reply).encode()), READERS[family])


def meaning(record: Record) -> dict[str, Any]:
    """A record as the golden files write it."""
    match record:
        case Completed(uris):
            return {"drawn": list(uris)}
        case InProgress(progress):
            return {"drawing": progress}
        case TaskFailed(code, message):
            return {"broken": [code, message]}
        case NotVisible():
            return {"invisible": True}
        case Unreadable(detail):
            return {"unreadable": detail}


@pytest.mark.parametrize(("family", "reply", "means"), CASES)
def test_a_real_payload_is_understood(family: str, reply: Any, means: dict[str, Any]) -> None:
    assert meaning(read(family, reply)) == means


def test_every_family_has_its_golden_payloads() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(READERS)


@every_family
@pytest.mark.parametrize("code", [400, 401, 402, 403, 405, 429, 430, 433, 455, 500, 502, 505, 524, 999])
def test_a_code_that_tells_nothing_of_the_task_is_read_again_later(family: str, code: int) -> None:
    """A record that cannot be read now is never a failure of the task (docs/provider.md#http-statuses)."""
    for status in (200, code):
        assert isinstance(read(family, {"code": code, "msg": "no", "data": None}, status), Unreadable)


@every_family
@pytest.mark.parametrize("page", [b"", b"<html>524</html>", b"[]", b"null", b'{"code":200,"data":{"successFlag":1'])
def test_a_page_is_read_again_later(family: str, page: bytes) -> None:
    for status in (200, 404, 422, 501, 502):
        assert isinstance(record_in(decode(status, page), READERS[family]), Unreadable)


@every_family
@pytest.mark.parametrize("status", [200, 401, 404, 408, 422, 500, 501, 502])
@pytest.mark.parametrize("document", [{}, {"message": "Not Implemented"}, {"code": None, "msg": "x", "data": None}])
def test_an_edges_own_json_never_ends_a_task(family: str, document: dict[str, Any], status: int) -> None:
    """Without a code of the provider's the HTTP status proves nothing: neither an end nor that there is no task."""
    assert isinstance(read(family, document, status), Unreadable)


@every_family
@pytest.mark.parametrize("code", [408, 501])
def test_a_code_that_kie_names_as_terminal_ends_a_task(family: str, code: int) -> None:
    assert read(family, {"code": code, "msg": "It failed.", "data": None}) == TaskFailed(code, "It failed.")


def test_a_network_failure_is_read_again_later() -> None:
    assert record_in(Later("ReadTimeout"), gpt4o_image.record_of) == Unreadable("ReadTimeout")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.00", 0),
        ("0.48", 48),
        ("1.00", 100),
        (0.5, 50),
        (1, 1),
        (1.0, 100),
        (0, 0),
        (57, 57),
        ("57", 57),
        (250, 100),
        (-3, 0),
        (None, 0),
        ("", 0),
        ("half", 0),
        ("nan", 0),
        ("inf", 0),
        ([], 0),
    ],
)
def test_progress_is_a_percentage(value: Any, shown: int) -> None:
    assert percent(value) == shown


def test_what_the_provider_says_is_cut_and_clean() -> None:
    record = by_flag({"successFlag": 3, "errorMessage": "a\x00b" + "x" * 10_000}, ())

    assert isinstance(record, TaskFailed)
    assert record.message.startswith("abx")
    assert len(record.message) == 300


@pytest.mark.parametrize("code", [10**30, 1e300, "9" * 4000, "words", [], True])
def test_an_odd_error_code_is_a_server_error(code: Any) -> None:
    assert by_flag({"successFlag": 3, "errorCode": code, "errorMessage": "no"}, ()) == TaskFailed(500, "no")


def test_urls_that_no_row_can_hold_are_left_out() -> None:
    assert uris_in([URI, "https://a.example/\x00", "https://a.example/a b", f"https://a.example/{'x' * 5000}"]) == (
        URI,
    )


def test_a_flood_of_urls_is_bounded() -> None:
    assert len(uris_in([f"https://a.example/{number}" for number in range(10_000)])) == 16


RECORD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(URI),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)

NAMES = ("successFlag", "status", "response", "resultUrls", "resultImageUrl", "errorCode", "errorMessage", "progress")

MORE = ("taskId", "url", "imageUrl", "state", "resultJson", "failCode", "failMsg")

DATA = st.fixed_dictionaries({}, optional=dict.fromkeys((*NAMES, *MORE), RECORD_JSON))


@every_family
@given(data=DATA | RECORD_JSON, code=st.sampled_from([200, "200", None, 404, 422, 501]))
def test_no_record_is_too_odd(family: str, data: Any, code: Any) -> None:
    record = read(family, {"code": code, "msg": "x", "data": data})

    match record:
        case Completed(uris):
            assert uris
            assert all(uri.startswith(("http://", "https://")) for uri in uris)
        case InProgress(progress):
            assert 0 <= progress <= 100
        case TaskFailed(code, message):
            assert abs(code) < 2**31
            assert message


DEPTH = 1_010  # a parser takes 1,024, and Python's own stack a few less than 1,000


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
    assert await fetch_all(harness.database, select(work_fault)) == []
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
