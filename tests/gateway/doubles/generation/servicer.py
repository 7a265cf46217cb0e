"""A generation service that keeps orders and callbacks in memory."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.errors import AlreadyExists, KawaiiError, NotFound, Unauthenticated
from tests.gateway.shapes import TIME

Context = aio.ServicerContext[Any, Any]
Generation = generationpb.Generation
FINAL = (
    Generation.STATE_SUCCEEDED,
    Generation.STATE_FAILED,
    Generation.STATE_UNKNOWN,
    Generation.STATE_CANCELED,
    Generation.STATE_EXPIRED,
    Generation.STATE_RESULT_LOST,
)
TEMPORARY_HOST = "https://tempfile.aiquickdraw.com/"


class GenerationService(generationrpc.GenerationServiceServicer):
    """Keeps orders and callbacks; `seconds` is what the last read was given, `watchers` are those who watch now."""

    def __init__(self) -> None:
        self.rows: dict[str, generationpb.Generation] = {}
        self.request_ids: list[str] = []
        self.subjects: list[str] = []
        self.quota: generationpb.Quota | None = None
        self.callbacks: list[generationpb.ReceiveCallbackRequest] = []
        self.failure: KawaiiError | None = None
        self.seconds = 0.0
        self.watchers: list[asyncio.Event] = []
        self._orders: dict[str, tuple[str, str | bytes]] = {}
        self._numbers = count(1)

    def add(self, identifier: str, **fields: Any) -> generationpb.Generation:
        row = generationpb.Generation(name=f"generations/{identifier}", create_time=TIME, **fields)
        self.rows[identifier] = row
        return row

    def change(self, identifier: str, **fields: Any) -> None:
        """Set fields of a row, and tell those who watch."""
        self.rows[identifier].MergeFrom(Generation(**fields))
        for watcher in self.watchers:
            watcher.set()

    async def CreateGeneration(
        self, request: generationpb.CreateGenerationRequest, context: Context
    ) -> generationpb.CreateGenerationResponse:
        if self.failure:
            raise self.failure
        self.request_ids.append(request.request_id)
        self.subjects.extend([request.quota_subject, *request.quota_subjects])
        if known := self._orders.get(request.request_id):
            return self._joined(
                *known, request.request_digest or request.generation.SerializeToString(deterministic=True)
            )
        identifier = f"gen_{next(self._numbers)}"
        row = Generation(name=f"generations/{identifier}", state=Generation.STATE_READY)
        row.MergeFrom(request.generation)
        self.rows[identifier] = row
        if request.request_id:
            order = request.request_digest or request.generation.SerializeToString(deterministic=True)
            self._orders[request.request_id] = (identifier, order)
        return generationpb.CreateGenerationResponse(generation=row, quota=self.quota)

    def _joined(
        self, identifier: str, first: str | bytes, repeated: str | bytes
    ) -> generationpb.CreateGenerationResponse:
        if first != repeated:
            raise AlreadyExists("This idempotency key was used for a different request.", "IDEMPOTENCY_KEY_REUSED")
        return generationpb.CreateGenerationResponse(generation=self.rows[identifier], joined=True)

    async def GetGeneration(
        self, request: generationpb.GetGenerationRequest, context: Context
    ) -> generationpb.Generation:
        self.seconds = context.time_remaining()
        identifier = request.name.removeprefix("generations/")
        for key, row in self.rows.items():
            if identifier in (key, row.provider_task_id):
                return row
        raise NotFound("There is no generation with this id.", "TASK_NOT_FOUND")

    async def ReceiveCallback(
        self, request: generationpb.ReceiveCallbackRequest, context: Context
    ) -> generationpb.ReceiveCallbackResponse:
        if request.headers.get("x-webhook-signature") == "forged":
            raise Unauthenticated("The webhook's signature is wrong.", "INVALID_SIGNATURE")
        self.callbacks.append(request)
        return generationpb.ReceiveCallbackResponse(accepted=True)

    async def CreateDownloadLink(
        self, request: generationpb.CreateDownloadLinkRequest, context: Context
    ) -> generationpb.DownloadLink:
        if not request.uri.startswith(TEMPORARY_HOST):
            return generationpb.DownloadLink(uri=request.uri)
        task = request.generation.removeprefix("generations/")
        return generationpb.DownloadLink(uri=f"https://direct.test/{task}", direct=True, expire_time=TIME)

    async def ListGenerations(
        self, request: generationpb.ListGenerationsRequest, context: Context
    ) -> generationpb.ListGenerationsResponse:
        return generationpb.ListGenerationsResponse(generations=self.rows.values())

    async def RetryGeneration(self, request: Any, context: Context) -> Any: ...

    async def CancelGeneration(self, request: Any, context: Context) -> Any: ...

    async def WatchGeneration(
        self, request: generationpb.WatchGenerationRequest, context: Context
    ) -> AsyncIterator[generationpb.Generation]:
        row = await self.GetGeneration(generationpb.GetGenerationRequest(name=request.name), context)
        news = asyncio.Event()
        self.watchers.append(news)
        try:
            while True:
                shown = Generation()
                shown.CopyFrom(row)
                yield shown
                if shown.state in FINAL:
                    return
                await news.wait()
                news.clear()
        finally:
            self.watchers.remove(news)

    def WatchEvents(self, request: Any, context: Context) -> Any: ...

    async def ListModels(
        self, request: generationpb.ListModelsRequest, context: Context
    ) -> generationpb.ListModelsResponse:
        return generationpb.ListModelsResponse()
