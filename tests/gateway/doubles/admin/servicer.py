"""The operators' side of the generation service: a key pool as the test wants it."""

import asyncio
from typing import Any

from grpc import aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc

from services.chassis.errors import KawaiiError

Context = aio.ServicerContext[Any, Any]
ACTIVE = generationadminpb.ProviderKey(
    name="providerKeys/ab12", account="one", state=generationadminpb.ProviderKey.STATE_ACTIVE
)


class AdminService(generationadminrpc.GenerationAdminServiceServicer):
    """Shows `pool`, once `gate` is open."""

    def __init__(self) -> None:
        account = generationadminpb.ProviderAccount(account="one")
        self.pool = generationadminpb.ListProviderKeysResponse(provider_keys=[ACTIVE], accounts=[account])
        self.failure: KawaiiError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ListProviderKeys(
        self, request: generationadminpb.ListProviderKeysRequest, context: Context
    ) -> generationadminpb.ListProviderKeysResponse:
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return self.pool

    async def EnableKey(self, request: Any, context: Context) -> Any: ...

    async def DisableKey(self, request: Any, context: Context) -> Any: ...

    async def ProbeKey(self, request: Any, context: Context) -> Any: ...

    async def ExplainGeneration(self, request: Any, context: Context) -> Any: ...

    async def AdoptTask(self, request: Any, context: Context) -> Any: ...
