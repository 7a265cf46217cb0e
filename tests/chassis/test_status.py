"""Every error has one status code, and crosses a real channel whole."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from services.chassis import errors
from services.chassis.status import CODES, DETAILS_KEY, ERRORS, from_rpc, translated, translated_stream
from tests.chassis.echo import STREAMED, echoing

KINDS = errors.KawaiiError.__subclasses__()


def test_every_error_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(KINDS)
    assert len(ERRORS) == len(CODES)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_crosses_the_wire_whole(kind: type[errors.KawaiiError]) -> None:
    async def act(_text: str) -> str:
        raise kind("Zu lang, 長すぎます.", "TOO_LONG", metadata={"field": "prompt", "limit": "5"}, retry_after=1.5)

    async with echoing(act) as client:
        with pytest.raises(kind) as caught, translated():
            await client.ask("unary_unary", "hello")

    got = caught.value
    assert (got.message, got.reason) == ("Zu lang, 長すぎます.", "TOO_LONG")
    assert (got.metadata, got.retry_after) == ({"field": "prompt", "limit": "5"}, 1.5)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_without_extras_keeps_its_default_reason(kind: type[errors.KawaiiError]) -> None:
    async def act(_text: str) -> str:
        raise kind("No.")

    async with echoing(act) as client:
        with pytest.raises(kind) as caught, translated():
            await client.ask("unary_unary", "hello")

    assert (caught.value.reason, caught.value.metadata, caught.value.retry_after) == (kind.reason, {}, None)


async def test_any_client_can_read_the_details() -> None:
    """google.rpc.Status with ErrorInfo always, BadRequest for a field, RetryInfo for a delay."""

    async def act(_text: str) -> str:
        raise errors.ResourceExhausted("Slow down.", metadata={"field": "prompt"}, retry_after=2)

    async with echoing(act) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.ask("unary_unary", "hello")

    trailing = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing[DETAILS_KEY])
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    assert [status.details[0].Unpack(info), status.details[1].Unpack(bad), status.details[2].Unpack(retry)] == [
        True
    ] * 3
    assert (status.code, status.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "Slow down.")
    assert (info.domain, info.reason) == ("kawaii", "RATE_LIMIT")
    assert bad.field_violations[0].field == "prompt"
    assert retry.retry_delay.ToSeconds() == 2


@pytest.mark.parametrize("shape", STREAMED)
async def test_an_error_in_a_stream_is_translated_too(shape: str) -> None:
    async def act(_text: str) -> str:
        raise errors.NotFound("Gone.", "TASK_NOT_FOUND")

    async with echoing(act) as client:
        stream = translated_stream(client.start(shape, "hello"))
        first = await anext(stream)
        with pytest.raises(errors.NotFound) as caught:
            await anext(stream)

    assert first.value == "hello"
    assert caught.value.reason == "TASK_NOT_FOUND"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ResourceExhausted),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Unimplemented),
        (grpc.StatusCode.UNKNOWN, errors.Unavailable),
        (grpc.StatusCode.CANCELLED, errors.Unavailable),
    ],
)
def test_a_failure_that_grpc_made_shows_no_address(code: grpc.StatusCode, kind: type[errors.KawaiiError]) -> None:
    failure = aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), details="connect to 10.0.0.7:50051 failed")

    error = from_rpc(failure)

    assert type(error) is kind
    assert "10.0.0.7" not in error.message
