"""Speaks StorageAdminService: beside servicer.py because operators have a service of their own."""

from collections.abc import AsyncIterator
from typing import Any

from grpc import aio
from kawaii.storage.v1 import admin_pb2 as adminpb
from kawaii.storage.v1 import admin_pb2_grpc as adminrpc

from services.chassis.names import parse_key
from services.storage import admin_wire
from services.storage.core.garbage import Garbage
from services.storage.core.migration import Migration
from services.storage.core.variants import Variants
from services.storage.core.verification import Verification

Context = aio.ServicerContext[Any, Any]


class StorageAdminServicer(adminrpc.StorageAdminServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, verification: Verification, migration: Migration, garbage: Garbage, variants: Variants) -> None:
        self._verification = verification
        self._migration = migration
        self._garbage = garbage
        self._variants = variants

    async def VerifyObjects(
        self, request: adminpb.VerifyObjectsRequest, context: Context
    ) -> AsyncIterator[adminpb.HousekeepingProgress]:
        async for progress in self._verification.run(read_bytes=request.read_bytes):
            yield admin_wire.progress_pb(progress)

    async def MigrateObjects(
        self, request: adminpb.MigrateObjectsRequest, context: Context
    ) -> AsyncIterator[adminpb.HousekeepingProgress]:
        async for progress in self._migration.run(request.target_mode, admin_wire.step(request)):
            yield admin_wire.progress_pb(progress)

    async def CollectGarbage(
        self, request: adminpb.CollectGarbageRequest, context: Context
    ) -> AsyncIterator[adminpb.HousekeepingProgress]:
        async for progress in self._garbage.run(admin_wire.age(request), delete=request.delete):
            yield admin_wire.progress_pb(progress)

    async def SignVariant(self, request: adminpb.SignVariantRequest, context: Context) -> adminpb.SignVariantResponse:
        return admin_wire.signed_pb(await self._variants.sign(parse_key(request.object), admin_wire.wish(request)))
