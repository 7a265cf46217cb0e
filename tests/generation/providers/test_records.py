"""What KIE's records mean, family by family: real payloads in golden/, the variants that callers met, and a fuzzer."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generation.outcomes import Completed, InProgress, Later, NotVisible, Record, TaskFailed, Unreadable
from services.generation.providers import PROVIDERS, flux_kontext, gpt4o_image, market_jobs
from services.generation.providers.replies import by_flag, decode, percent, record_in, uris_in

GOLDEN = Path(__file__).parents[1] / "golden"
READERS = {
    "gpt4o-image": gpt4o_image.record_of,
    "flux-kontext": flux_kontext.record_of,
    "market-jobs": market_jobs.record_of,
}
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
    assert {provider.family for provider in PROVIDERS} == set(READERS)


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(URI),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("successFlag", "status", "response", "resultUrls", "resultImageUrl", "errorCode", "errorMessage", "progress")
MORE = ("taskId", "url", "imageUrl", "state", "resultJson", "failCode", "failMsg")
DATA = st.fixed_dictionaries({}, optional=dict.fromkeys((*NAMES, *MORE), JSON))


@every_family
@given(data=DATA | JSON, code=st.sampled_from([200, "200", None, 404, 422, 501]))
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
