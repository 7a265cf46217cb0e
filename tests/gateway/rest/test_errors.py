"""The table from errors to HTTP, whole."""

import orjson
import pytest

from gateway.rest.errors import STATUS, answer
from services.chassis import errors

HTTP = {
    errors.InvalidArgument: 400,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.FailedPrecondition: 409,
    errors.OutOfRange: 400,
    errors.Aborted: 409,
    errors.ResourceExhausted: 429,
    errors.Unimplemented: 501,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.DataLoss: 500,
    errors.Internal: 500,
}


def test_every_error_there_is_has_its_status() -> None:
    assert set(STATUS) == set(errors.KawaiiError.__subclasses__())
    assert {kind: answer(kind("A sentence.")).status_code for kind in STATUS} == HTTP


@pytest.mark.parametrize("kind", [errors.ResourceExhausted, errors.Unavailable])
@pytest.mark.parametrize(("after", "header"), [(None, "2"), (0.2, "1"), (30.5, "31")])
def test_an_error_that_will_pass_says_when_to_come_back(
    kind: type[errors.KawaiiError], after: float | None, header: str
) -> None:
    assert answer(kind("Later.", retry_after=after)).headers["retry-after"] == header


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidArgument("Too large.", "FILE_TOO_LARGE"), 413),
        (errors.InvalidArgument("Not JSON.", "UNSUPPORTED_MEDIA_TYPE"), 415),
        (errors.FailedPrecondition("Refused.", "PROVIDER_REJECTED"), 422),
        (errors.AlreadyExists("Used for another order.", "IDEMPOTENCY_KEY_REUSED"), 422),
        (errors.PermissionDenied("Wrong token.", "INVALID_TOKEN"), 403),
        (errors.Unavailable("The server you named is away.", "SOURCE_UNAVAILABLE"), 424),
    ],
)
def test_the_reason_is_the_code_and_may_refine_the_status(error: errors.KawaiiError, status: int) -> None:
    response = answer(error)

    assert response.status_code == status
    assert orjson.loads(response.body) == {
        "success": False,
        "error": error.message,
        "code": error.reason,
        "message": error.message,
    }
