"""The RPCs of GenerationAdminService, the operators' service: parses, calls, renders; decides nothing."""

from typing import Any

from grpc import aio
from kawaii.generation.v1 import admin_pb2 as adminpb
from kawaii.generation.v1 import admin_pb2_grpc as adminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.public_files import PublicFiles
from services.generation.core.restoration import Restoration
from services.generation.core.timeline import Timeline
from services.generation.key_pool.health_checks import KeyHealthChecks
from services.generation.key_pool.pool import KeyPool
from services.generation.wire import admin, generations
from services.generation.workers.parked_work import ParkedWork

Context = aio.ServicerContext[Any, Any]


class GenerationAdminServicer(adminrpc.GenerationAdminServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(
        self,
        key_pool: KeyPool,
        health_checks: KeyHealthChecks,
        timeline: Timeline,
        restoration: Restoration,
        *,
        parked_work: ParkedWork,
        files: PublicFiles,
    ) -> None:
        self._key_pool = key_pool
        self._health_checks = health_checks
        self._timeline = timeline
        self._restoration = restoration
        self._parked_work = parked_work
        self._files = files

    async def ListProviderKeys(
        self, request: adminpb.ListProviderKeysRequest, context: Context
    ) -> adminpb.ListProviderKeysResponse:
        return admin.pool_pb(await self._key_pool.listing())

    async def EnableKey(self, request: adminpb.EnableKeyRequest, context: Context) -> adminpb.ProviderKey:
        return admin.key_pb(await self._key_pool.enable(admin.key_print(request.name)))

    async def DisableKey(self, request: adminpb.DisableKeyRequest, context: Context) -> adminpb.ProviderKey:
        return admin.key_pb(await self._key_pool.disable(admin.key_print(request.name)))

    async def ProbeKey(self, request: adminpb.ProbeKeyRequest, context: Context) -> adminpb.ProviderKey:
        return admin.key_pb(await self._health_checks.probe(admin.key_print(request.name)))

    async def ExplainGeneration(
        self, request: adminpb.ExplainGenerationRequest, context: Context
    ) -> adminpb.ExplainGenerationResponse:
        return admin.timeline_pb(await self._timeline.explain(generations.identifier(request.name)))

    async def AdoptTask(self, request: adminpb.AdoptTaskRequest, context: Context) -> adminpb.AdoptTaskResponse:
        attempt, task = admin.adoption(request)
        return admin.adopted_pb((await self._timeline.adopt(attempt, task)).id)

    async def RecopyGeneration(
        self, request: adminpb.RecopyGenerationRequest, context: Context
    ) -> generationpb.Generation:
        return generations.to_pb(await self._restoration.recopy(generations.identifier(request.name)), self._files)

    async def RestoreGeneration(
        self, request: adminpb.RestoreGenerationRequest, context: Context
    ) -> adminpb.RestoreGenerationResponse:
        created = await self._restoration.restore(admin.record(request.generation))
        return adminpb.RestoreGenerationResponse(created=created)

    async def ListParkedWork(
        self, request: adminpb.ListParkedWorkRequest, context: Context
    ) -> adminpb.ListParkedWorkResponse:
        return admin.parked_pb(await self._parked_work.listed())

    async def ReleaseParkedWork(
        self, request: adminpb.ReleaseParkedWorkRequest, context: Context
    ) -> adminpb.ReleaseParkedWorkResponse:
        await self._parked_work.release(request.loop, request.work)
        return adminpb.ReleaseParkedWorkResponse()
