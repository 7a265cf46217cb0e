"""Uploads that stand still, on either side, end before the edge gives up on us."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.clients import uploads
from services.chassis.errors import DeadlineExceeded
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import PNG

STEP_SECONDS = 0.2


async def one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


async def stuck(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
    await asyncio.Event().wait()


async def test_a_storage_that_stands_still_ends_the_upload(doubles: Doubles) -> None:
    doubles.storage.gate.clear()

    with pytest.raises(DeadlineExceeded):
        await uploads.store(doubles.clients.storage, "a.png", one(PNG), 1000, step_seconds=STEP_SECONDS)


async def test_a_client_that_stands_still_ends_the_upload_and_nothing_is_kept(doubles: Doubles) -> None:
    with pytest.raises(DeadlineExceeded):
        await uploads.store(doubles.clients.storage, "a.png", stuck(PNG), 1000, step_seconds=STEP_SECONDS)

    assert not doubles.storage.kept
