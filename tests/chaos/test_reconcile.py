"""What an operator would bring in is brought in: a record that cannot be read at this moment is no refusal."""

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode, aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc

from tests.chaos.evidence import Bill
from tests.chaos.reconcile import ADOPT_TRIES, adopt

BILL = Bill("task1", "att_1", "read-html502:2,nocallback", "success", 0, ())


class Adopter(generationadminrpc.GenerationAdminServiceServicer):
    """Generation's service for operators, which refuses as often as a test says."""

    def __init__(self) -> None:
        self.refusals: deque[StatusCode] = deque()
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    async def AdoptTask(  # noqa: N802 - the proto's name
        self, request: generationadminpb.AdoptTaskRequest, context: aio.ServicerContext[Any, Any]
    ) -> generationadminpb.AdoptTaskResponse:
        self.asked.append((request.attempt, request.task))
        if self.refusals:
            await context.abort(self.refusals.popleft(), "Try again.")
        return generationadminpb.AdoptTaskResponse()


@pytest.fixture
async def adopter() -> AsyncIterator[Adopter]:
    servicer, server = Adopter(), aio.server()
    generationadminrpc.add_GenerationAdminServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield servicer
    await server.stop(None)


async def test_an_adoption_is_tried_again_while_the_record_cannot_be_read(adopter: Adopter) -> None:
    adopter.refusals.extend([StatusCode.UNAVAILABLE] * 2)
    await adopt(adopter.address, BILL)

    assert adopter.asked == [("att_1", "task1")] * 3


async def test_an_adoption_that_is_refused_is_left_for_the_check(adopter: Adopter) -> None:
    adopter.refusals.append(StatusCode.FAILED_PRECONDITION)
    await adopt(adopter.address, BILL)

    assert len(adopter.asked) == 1


async def test_a_record_that_stays_unreadable_is_left_for_the_check(adopter: Adopter) -> None:
    adopter.refusals.extend([StatusCode.UNAVAILABLE] * (ADOPT_TRIES + 1))
    await adopt(adopter.address, BILL)

    assert len(adopter.asked) == ADOPT_TRIES
