"""A generation service that keeps orders and callbacks in memory."""

from itertools import count
from typing import Any

from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.errors import KawaiiError, NotFound, Unauthenticated
from tests.gateway.shapes import TIME

Context = aio.ServicerContext[Any, Any]
TEMPORARY_HOST = "https://tempfile.aiquickdraw.com/"


class GenerationService(generationrpc.GenerationServiceServicer):
    """Keeps orders and callbacks."""

    def __init__(self) -> None:
        self.rows: dict[str, generationpb.Generation] = {}
        self.request_ids: list[str] = []
        self.callbacks: list[generationpb.ReceiveCallbackRequest] = []
        self.failure: KawaiiError | None = None
        self._numbers = count(1)

    def add(self, identifier: str, **fields: Any) -> generationpb.Generation:
        row = generationpb.Generation(name=f"generations/{identifier}", create_time=TIME, **fields)
        self.rows[identifier] = row
        return row

    async def CreateGeneration(
        self, request: generationpb.CreateGenerationRequest, context: Context
    ) -> generationpb.Generation:
        if self.failure:
            raise self.failure
        self.request_ids.append(request.request_id)
        row = request.generation
        row.name = f"generations/gen_{next(self._numbers)}"
        row.state = generationpb.Generation.STATE_READY
        self.rows[row.name.partition("/")[2]] = row
        return row

    async def GetGeneration(
        self, request: generationpb.GetGenerationRequest, context: Context
    ) -> generationpb.Generation:
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
            return generationpb.DownloadLink(uri=request.uri, direct=True)
        return generationpb.DownloadLink(uri=f"https://direct.test/{request.generation}", expire_time=TIME)

    async def ListGenerations(self, request: Any, context: Context) -> Any: ...

    async def CancelGeneration(self, request: Any, context: Context) -> Any: ...

    def WatchGeneration(self, request: Any, context: Context) -> Any: ...

    def WatchEvents(self, request: Any, context: Context) -> Any: ...

    async def ListModels(self, request: Any, context: Context) -> Any: ...
