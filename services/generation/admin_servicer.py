"""Speaks GenerationAdminService: beside servicer.py because operators have a service of their own."""

from typing import Any

from grpc import aio
from kawaii.generation.v1 import admin_pb2 as adminpb
from kawaii.generation.v1 import admin_pb2_grpc as adminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.files import PublicFiles
from services.generation import admin_wire, wire
from services.generation.core.history import History
from services.generation.core.poison import Poison
from services.generation.core.records import Records
from services.generation.core.warden import Warden

Context = aio.ServicerContext[Any, Any]


class GenerationAdminServicer(adminrpc.GenerationAdminServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, warden: Warden, history: History, records: Records, poison: Poison, files: PublicFiles) -> None:
        self._warden = warden
        self._history = history
        self._records = records
        self._poison = poison
        self._files = files

    async def ListProviderKeys(
        self, request: adminpb.ListProviderKeysRequest, context: Context
    ) -> adminpb.ListProviderKeysResponse:
        return admin_wire.pool_pb(await self._warden.listing())

    async def EnableKey(self, request: adminpb.EnableKeyRequest, context: Context) -> adminpb.ProviderKey:
        return admin_wire.key_pb(await self._warden.enable(admin_wire.key_print(request.name)))

    async def DisableKey(self, request: adminpb.DisableKeyRequest, context: Context) -> adminpb.ProviderKey:
        return admin_wire.key_pb(await self._warden.disable(admin_wire.key_print(request.name)))

    async def ProbeKey(self, request: adminpb.ProbeKeyRequest, context: Context) -> adminpb.ProviderKey:
        return admin_wire.key_pb(await self._warden.probe(admin_wire.key_print(request.name)))

    async def ExplainGeneration(
        self, request: adminpb.ExplainGenerationRequest, context: Context
    ) -> adminpb.ExplainGenerationResponse:
        return admin_wire.story_pb(await self._history.explain(wire.identifier(request.name)))

    async def AdoptTask(self, request: adminpb.AdoptTaskRequest, context: Context) -> adminpb.AdoptTaskResponse:
        attempt, task = admin_wire.adoption(request)
        return admin_wire.adopted_pb((await self._history.adopt(attempt, task)).id)

    async def RecopyGeneration(
        self, request: adminpb.RecopyGenerationRequest, context: Context
    ) -> generationpb.Generation:
        return wire.to_pb(await self._records.recopy(wire.identifier(request.name)), self._files)

    async def RestoreGeneration(
        self, request: adminpb.RestoreGenerationRequest, context: Context
    ) -> adminpb.RestoreGenerationResponse:
        created = await self._records.restore(admin_wire.record(request.generation))
        return adminpb.RestoreGenerationResponse(created=created)

    async def ListParkedWork(
        self, request: adminpb.ListParkedWorkRequest, context: Context
    ) -> adminpb.ListParkedWorkResponse:
        return admin_wire.parked_pb(await self._poison.listed())

    async def ReleaseParkedWork(
        self, request: adminpb.ReleaseParkedWorkRequest, context: Context
    ) -> adminpb.ReleaseParkedWorkResponse:
        await self._poison.release(request.loop, request.work)
        return adminpb.ReleaseParkedWorkResponse()
