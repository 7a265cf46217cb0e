"""A callback is believed as far as its signature reaches: its task id and its time (docs/provider.md#signature)."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument, Unauthenticated
from services.generation.providers.callback_verification import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    KieCallbackVerifier,
    sign,
)

KEY, OLD_KEY = "sim-webhook-key", "key-of-last-month"
TASK = "0123456789abcdef0123456789abcdef"
NOW = 1_760_000_000
SIGNATURE = "ynOm+XV/WnzRbfOeUpCK9Res2m82Jtb12wGtz0XKY24="


def reader(*keys: str) -> KieCallbackVerifier:
    return KieCallbackVerifier(keys, clock=lambda: NOW)


def body(**document: Any) -> bytes:
    return json.dumps({"code": 200, **document}).encode()


def headers(signature: str = SIGNATURE, stamp: str = str(NOW)) -> dict[str, str]:
    return {TIMESTAMP_HEADER: stamp, SIGNATURE_HEADER: signature}


@pytest.mark.parametrize(
    ("task", "stamp", "signature"),
    [
        (TASK, "1760000000", SIGNATURE),
        ("task_google_1760000000000", "1760000015", "MV75juuBj/G7LOoiupPfP4BAklVzIac0m7F96yfCB4Q="),
    ],
)
def test_the_signature_is_kies(task: str, stamp: str, signature: str) -> None:
    assert sign(KEY, task, stamp) == signature
    assert reader(KEY).read(body(data={"taskId": task}), headers(signature, stamp)) == (task, 200)


@pytest.mark.parametrize(
    "document",
    [
        {"data": {"taskId": TASK}},
        {"data": {"task_id": TASK}},
        {"taskId": TASK},
        {"task_id": TASK},
        {"taskId": TASK, "task_id": TASK, "data": {"taskId": TASK, "task_id": TASK}},
        {"taskId": TASK, "data": None},
        {"taskId": TASK, "data": "text"},
        {"taskId": TASK, "data": {"taskId": None}},
    ],
)
def test_the_task_id_is_found_wherever_kie_puts_it(document: dict[str, Any]) -> None:
    assert reader(KEY).read(body(**document), headers()) == (TASK, 200)


OTHER = "fedcba9876543210fedcba9876543210"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": {}},
        {"data": []},
        {"data": [{"taskId": TASK}]},
        {"data": {"info": {"taskId": TASK}}},
        {"data": {"taskId": TASK, "task_id": OTHER}},
        {"data": {"taskId": TASK}, "taskId": OTHER},
        {"taskId": TASK, "task_id": OTHER},
        {"data": {"taskId": [TASK]}},
        {"data": {"taskId": {"$ne": ""}}},
        {"data": {"taskId": 7}},
        {"data": {"taskId": True}},
        {"data": {"taskId": TASK}, "taskId": 7},
        {"data": {"taskId": ""}},
        {"data": {"taskId": "a.1760000000"}},
        {"data": {"taskId": "a b"}},
        {"data": {"taskId": "a/b"}},
        {"data": {"taskId": "a\x00"}},
        {"data": {"taskId": "-a"}},
        {"data": {"taskId": "x" * 10_240}},
    ],
)
@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_ids_that_are_missing_odd_or_at_odds_are_refused(document: dict[str, Any], keys: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        reader(*keys).read(body(**document), headers())


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"null", b"[]", b'"x"', b"\xff", b"taskId=1", b"[" * 100_000, b'{"code":200'],
)
def test_a_body_that_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        reader().read(raw, {})


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {TIMESTAMP_HEADER: str(NOW)},
        {SIGNATURE_HEADER: SIGNATURE},
        headers(""),
        headers(SIGNATURE[:-1]),
        headers(SIGNATURE[:10]),
        headers(SIGNATURE + "="),
        headers(SIGNATURE.lower()),
        headers("ca73a6f9757f5a7cd16df39e5290" + "8af5eb"),
        headers(sign("another key", TASK, str(NOW))),
        headers(sign(KEY, OTHER, str(NOW))),
        headers(sign(KEY, TASK, str(NOW + 1))),
        headers(f"{SIGNATURE},{SIGNATURE}"),
        headers("ünïcode"),
    ],
)
def test_a_bad_signature_is_refused(sent: Mapping[str, str]) -> None:
    with pytest.raises(Unauthenticated) as caught:
        reader(KEY).read(body(data={"taskId": TASK}), sent)

    assert caught.value.reason == "INVALID_SIGNATURE"
    assert KEY not in caught.value.message


@pytest.mark.parametrize("skew", [-300, -1, 0, 1, 300])
def test_a_fresh_timestamp_is_taken(skew: int) -> None:
    stamp = str(NOW + skew)

    assert reader(KEY).read(body(data={"taskId": TASK}), headers(sign(KEY, TASK, stamp), stamp))


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "-1760000000",
        "1760000000.0",
        "1.76e9",
        " 1760000000",
        "1760000000\n",
        "9" * 40,
        "0",
        "x",
        "\uff11\uff17\uff16\uff10\uff10\uff10\uff10\uff10\uff10\uff10",
        str(NOW - 301),
        str(NOW + 301),
        str(NOW * 1000),
    ],
)
def test_a_stale_or_odd_timestamp_is_refused_even_when_signed(stamp: str) -> None:
    with pytest.raises(Unauthenticated):
        reader(KEY).read(body(data={"taskId": TASK}), headers(sign(KEY, TASK, stamp), stamp))


def test_two_keys_overlap_while_one_is_rotated() -> None:
    stamp = str(NOW)

    for key in (KEY, OLD_KEY):
        assert reader(KEY, OLD_KEY).read(body(data={"taskId": TASK}), headers(sign(key, TASK, stamp)))


def test_without_a_key_nothing_is_checked() -> None:
    assert reader().read(body(data={"taskId": TASK}), {}) == (TASK, 200)


@pytest.mark.parametrize(
    ("code", "read"),
    [(200, 200), ("501", 501), (None, 0), ("x", 0), ([], 0), (1e300, 0), (10**30, 0), (True, 0), ("9" * 4000, 0)],
)
def test_the_code_is_only_a_note(code: Any, read: int) -> None:
    assert reader().read(body(code=code, data={"taskId": TASK}), {}) == (TASK, read)


def test_what_else_the_body_says_is_ignored() -> None:
    """The signature does not cover it: whoever holds one valid pair may write anything here."""
    forged = body(data={"taskId": TASK, "info": {"result_urls": ["http://169.254.169.254/"]}, "state": "success"})

    assert reader(KEY).read(forged, headers()) == (TASK, 200)


@given(st.binary(max_size=100), st.dictionaries(st.sampled_from([TIMESTAMP_HEADER, SIGNATURE_HEADER]), st.text()))
def test_no_bytes_get_in_without_a_signature(raw: bytes, sent: dict[str, str]) -> None:
    with pytest.raises((InvalidArgument, Unauthenticated)):
        reader(KEY).read(raw, sent)
