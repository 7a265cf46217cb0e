"""The operators' side of the generation service: a key pool as the test wants it."""

import asyncio
from typing import Any

from grpc import aio
from kawaii.generation.v1 import admin_pb2 as adminpb
from kawaii.generation.v1 import admin_pb2_grpc as adminrpc

from services.chassis.errors import KawaiiError

Context = aio.ServicerContext[Any, Any]
ACTIVE = adminpb.ProviderKey(name="providerKeys/ab12", account="one", state=adminpb.ProviderKey.STATE_ACTIVE)


class AdminService(adminrpc.GenerationAdminServiceServicer):
    """Shows `pool`, once `gate` is open."""

    def __init__(self) -> None:
        account = adminpb.ProviderAccount(account="one")
        self.pool = adminpb.ListProviderKeysResponse(provider_keys=[ACTIVE], accounts=[account])
        self.failure: KawaiiError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ListProviderKeys(
        self, request: adminpb.ListProviderKeysRequest, context: Context
    ) -> adminpb.ListProviderKeysResponse:
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return self.pool

    async def EnableKey(self, request: Any, context: Context) -> Any: ...

    async def DisableKey(self, request: Any, context: Context) -> Any: ...

    async def ProbeKey(self, request: Any, context: Context) -> Any: ...

    async def ExplainGeneration(self, request: Any, context: Context) -> Any: ...

    async def AdoptTask(self, request: Any, context: Context) -> Any: ...
