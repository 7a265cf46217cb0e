"""Streams bytes into storage as fast as storage takes them, and gives up the upload when their source fails."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc
from starlette.requests import ClientDisconnect

from gateway.rest.idempotency import replayed
from services.chassis.errors import DeadlineExceeded, KawaiiError

PREFIX = "uploads"
UPLOAD_SECONDS = 300.0  # 10 MiB at 0.3 Mbit/s, which is what the edge allows a body
STEP_SECONDS = 55.0  # for each chunk, and from the last to storage's answer: the edge waits 60 s without a sign


class UploadMessages:
    """The messages of one upload, and what ended them early: storage refuses an upload without its last message."""

    def __init__(
        self, spec: storagepb.UploadObjectRequest.UploadSpec, chunks: AsyncIterator[bytes], step_seconds: float
    ) -> None:
        self.failure: Exception | None = None
        self.bound = asyncio.timeout(step_seconds)
        self._step_seconds = step_seconds
        self._spec = spec
        self._chunks = chunks

    async def messages(self) -> AsyncIterator[storagepb.UploadObjectRequest]:
        """The spec of the file, its bytes in chunks, and `complete` unless the source of the bytes failed."""
        yield storagepb.UploadObjectRequest(spec=self._spec)
        try:
            async for chunk in self._chunks:
                self._step()
                yield storagepb.UploadObjectRequest(chunk=chunk)
        except (KawaiiError, ClientDisconnect) as failure:
            self.failure = failure
            return
        self._step()
        yield storagepb.UploadObjectRequest(complete=True)

    def _step(self) -> None:
        with suppress(RuntimeError):  # storage has answered, and nobody waits any more
            self.bound.reschedule(asyncio.get_running_loop().time() + self._step_seconds)


async def store(
    storage: "storagerpc.StorageServiceAsyncStub",
    name: str,
    chunks: AsyncIterator[bytes],
    max_bytes: int,
    *,
    step_seconds: float = STEP_SECONDS,
    prefix: str = PREFIX,
    metadata: Sequence[tuple[str, str]] = (),
    replays: dict[str, str] | None = None,
) -> storagepb.Object:
    """Store a client's file under a prefix, uploads/ by default; `name` is the client's name for the file.

    `metadata` may name the request; `replays` is then given the header of an answer that was given before.

    Raises:
        AioRpcError: storage refused it, for example because it is no picture.
        KawaiiError, ClientDisconnect: whatever stopped the chunks.
        DeadlineExceeded: no bytes moved for `step_seconds`, on either side.
    """
    spec = storagepb.UploadObjectRequest.UploadSpec(prefix=prefix, original_name=name, max_size_bytes=max_bytes)
    feed = UploadMessages(spec, chunks, step_seconds)
    try:
        async with feed.bound:
            call = storage.UploadObject(feed.messages(), timeout=UPLOAD_SECONDS, metadata=tuple(metadata))
            stored = await call
            if replays is not None:
                replays.update(await replayed(call))
            return stored
    except TimeoutError:
        raise DeadlineExceeded("The upload stood still for too long. Try again shortly.") from None
    except aio.AioRpcError:
        if feed.failure is None:
            raise
        raise feed.failure from None
