"""The RPCs of GenerationAdminService, the operators' service: parses, calls, renders; decides nothing."""

from typing import Any

from grpc import aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.public_files import PublicFiles
from services.generation.core.restoration import Restoration
from services.generation.core.timeline import Timeline
from services.generation.key_pool.health_checks import KeyHealthChecks
from services.generation.key_pool.pool import KeyPool
from services.generation.wire import admin, generations
from services.generation.workers.parked_work import ParkedWork

Context = aio.ServicerContext[Any, Any]


class GenerationAdminServicer(generationadminrpc.GenerationAdminServiceServicer):
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
        self, request: generationadminpb.ListProviderKeysRequest, context: Context
    ) -> generationadminpb.ListProviderKeysResponse:
        return admin.pool_pb(await self._key_pool.listing())

    async def EnableKey(
        self, request: generationadminpb.EnableKeyRequest, context: Context
    ) -> generationadminpb.ProviderKey:
        return admin.key_pb(await self._key_pool.enable(admin.key_print(request.name)))

    async def DisableKey(
        self, request: generationadminpb.DisableKeyRequest, context: Context
    ) -> generationadminpb.ProviderKey:
        return admin.key_pb(await self._key_pool.disable(admin.key_print(request.name)))

    async def ProbeKey(
        self, request: generationadminpb.ProbeKeyRequest, context: Context
    ) -> generationadminpb.ProviderKey:
        return admin.key_pb(await self._health_checks.probe(admin.key_print(request.name)))

    async def ExplainGeneration(
        self, request: generationadminpb.ExplainGenerationRequest, context: Context
    ) -> generationadminpb.ExplainGenerationResponse:
        return admin.timeline_pb(await self._timeline.explain(generations.identifier(request.name)))

    async def AdoptTask(
        self, request: generationadminpb.AdoptTaskRequest, context: Context
    ) -> generationadminpb.AdoptTaskResponse:
        attempt, task = admin.adoption(request)
        return admin.adopted_pb((await self._timeline.adopt(attempt, task)).id)

    async def RecopyGeneration(
        self, request: generationadminpb.RecopyGenerationRequest, context: Context
    ) -> generationpb.Generation:
        return generations.to_pb(await self._restoration.recopy(generations.identifier(request.name)), self._files)

    async def RestoreGeneration(
        self, request: generationadminpb.RestoreGenerationRequest, context: Context
    ) -> generationadminpb.RestoreGenerationResponse:
        created = await self._restoration.restore(admin.record(request.generation))
        return generationadminpb.RestoreGenerationResponse(created=created)

    async def ListParkedWork(
        self, request: generationadminpb.ListParkedWorkRequest, context: Context
    ) -> generationadminpb.ListParkedWorkResponse:
        return admin.parked_pb(await self._parked_work.listed())

    async def ReleaseParkedWork(
        self, request: generationadminpb.ReleaseParkedWorkRequest, context: Context
    ) -> generationadminpb.ReleaseParkedWorkResponse:
        await self._parked_work.release(request.loop, request.work)
        return generationadminpb.ReleaseParkedWorkResponse()
