"""The RPCs of StorageAdminService, which only operators may call."""

from collections.abc import AsyncIterator
from typing import Any

from grpc import aio
from kawaii.storage.v1 import admin_pb2 as storageadminpb
from kawaii.storage.v1 import admin_pb2_grpc as storageadminrpc
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis.names import parse_key
from services.chassis.public_files import PublicFiles
from services.storage import wire
from services.storage.core.adoption import Adoption
from services.storage.core.garbage_collection import GarbageCollection
from services.storage.core.object_migration import ObjectMigration
from services.storage.core.restoration import Restoration
from services.storage.core.variants import Variants
from services.storage.core.verification import Verification

Context = aio.ServicerContext[Any, Any]


class StorageAdminServicer(storageadminrpc.StorageAdminServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(
        self,
        verification: Verification,
        migration: ObjectMigration,
        garbage: GarbageCollection,
        *,
        adoption: Adoption,
        variants: Variants,
        restoration: Restoration,
        files: PublicFiles,
    ) -> None:
        self._verification = verification
        self._migration = migration
        self._garbage = garbage
        self._adoption = adoption
        self._variants = variants
        self._restoration = restoration
        self._files = files

    async def VerifyObjects(
        self, request: storageadminpb.VerifyObjectsRequest, context: Context
    ) -> AsyncIterator[storageadminpb.HousekeepingProgress]:
        async for progress in self._verification.run(read_bytes=request.read_bytes):
            yield wire.progress_pb(progress)

    async def MigrateObjects(
        self, request: storageadminpb.MigrateObjectsRequest, context: Context
    ) -> AsyncIterator[storageadminpb.HousekeepingProgress]:
        async for progress in self._migration.run(request.target_mode, wire.step(request)):
            yield wire.progress_pb(progress)

    async def CollectGarbage(
        self, request: storageadminpb.CollectGarbageRequest, context: Context
    ) -> AsyncIterator[storageadminpb.HousekeepingProgress]:
        async for progress in self._garbage.run(wire.age(request), delete=request.delete):
            yield wire.progress_pb(progress)

    async def AdoptObjects(
        self, request: storageadminpb.AdoptObjectsRequest, context: Context
    ) -> AsyncIterator[storageadminpb.HousekeepingProgress]:
        async for progress in self._adoption.run(request.prefix, adopt=request.adopt):
            yield wire.progress_pb(progress)

    async def SignVariant(
        self, request: storageadminpb.SignVariantRequest, context: Context
    ) -> storageadminpb.SignVariantResponse:
        return wire.signed_pb(await self._variants.sign(parse_key(request.object), wire.wish_to_sign(request)))

    async def RestoreObject(
        self, request_iterator: AsyncIterator[storageadminpb.RestoreObjectRequest], context: Context
    ) -> storagepb.Object:
        kept = await self._restoration.restore(*await wire.restored(request_iterator))
        return wire.to_pb(kept, self._files.uri(kept.key))
