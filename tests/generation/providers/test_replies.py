"""What a reply to a create means: one table of codes, one of bad replies, and whatever a fuzzer finds."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generation.outcomes import Accepted, Ambiguous, NotSent, Outcome, Refused, Rejected
from services.generation.providers.replies import MAX_REPLY_BYTES, MAX_TASK_ID_LENGTH, classify, decode, number, seconds

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
