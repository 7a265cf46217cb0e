"""Puts the storage service together and runs it."""

import asyncio
from functools import partial

from kawaii.storage.v1 import admin_pb2 as storageadminpb
from kawaii.storage.v1 import admin_pb2_grpc as storageadminrpc
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.addresses import ListenPort
from services.chassis.callers import ENVOY
from services.chassis.clock import now_ms
from services.chassis.clock_skew import CLOCK, ClockSkew
from services.chassis.database import Database, open_database
from services.chassis.event_loop import freeze_startup_objects
from services.chassis.health import Readiness
from services.chassis.idempotency import IdempotencyKeys
from services.chassis.logs import configure
from services.chassis.notifier import Notifier
from services.chassis.public_files import PublicFiles
from services.chassis.replicas import sole_on_sqlite
from services.chassis.server import Mount, serve
from services.chassis.settings import load, require_addresses
from services.chassis.signing_keys import Purpose, SigningKeys, former_key, open_signing_keys, require_same_key
from services.chassis.sole_lease import SoleLease
from services.chassis.tls import require_tls
from services.storage.admin_servicer import StorageAdminServicer
from services.storage.backends import OpenedBackends, open_backends
from services.storage.backends.folder_id import require_same_folder
from services.storage.core import Objects, Uploads, Variants
from services.storage.core.adoption import Adoption
from services.storage.core.deletion import ObjectDeletion
from services.storage.core.eviction import Eviction
from services.storage.core.garbage_collection import GarbageCollection
from services.storage.core.inspection import Inspection
from services.storage.core.object_migration import ObjectMigration
from services.storage.core.objects import SizeLimits
from services.storage.core.registration import is_kept, metadata_of
from services.storage.core.restoration import Restoration
from services.storage.core.thumbnails import Thumbnails
from services.storage.core.uploads import UploadTokens
from services.storage.core.variants import VariantPresets
from services.storage.core.verification import Verification
from services.storage.fetcher import open_fetchers
from services.storage.listener import UPLOADS, Listener
from services.storage.media.decoder_pool import open_decoder_pool
from services.storage.ports import Backend, DecoderPool, Fetchers
from services.storage.servicer import StorageServicer
from services.storage.settings import StorageSettings
from services.storage.stores.sql import AGREEMENT, REQUEST_ANSWER, SOLE_LEASE, SqlObjects

FORMER_LINK_KEY, FORMER_VARIANT_KEY = "storage-link.key", "storage-variant.key"  # of versions before SIGNING_KEY
LISTENERS = (ListenPort.STORAGE, ListenPort.STORAGE_METRICS)
EVICTION = "eviction"  # the lease of the loop
BYTES = "bytes"  # the health part of the disk or the bucket


def build_core(
    settings: StorageSettings,
    backend: Backend,
    database: Database,
    *,
    signing_keys: SigningKeys,
    fetchers: Fetchers,
    decoder: DecoderPool,
) -> tuple[Objects, Uploads, Variants]:
    """Build the core of the service on its adapters."""
    store, limits = SqlObjects(), SizeLimits(settings.max_upload_bytes, settings.max_result_bytes)
    inspection = Inspection(backend, decoder)
    former = former_key(settings.data_dir / FORMER_VARIANT_KEY)
    presets = VariantPresets(signing_keys.of(Purpose.VARIANT_URL, *former))
    most, budget = limits.result_bytes, settings.variant_bytes_per_picture
    variants = Variants(backend, database, store, decoder, presets, max_bytes=most, budget_bytes=budget, clock=now_ms)
    own_key = PublicFiles(*settings.files_base_urls).key
    objects = Objects(backend, database, store, fetchers, inspection, limits=limits, own_key=own_key, clock=now_ms)
    former = former_key(settings.data_dir / FORMER_LINK_KEY)
    tokens = UploadTokens(signing_keys.of(Purpose.UPLOAD_LINK, *former))
    most, lifetime = limits.upload_bytes, settings.upload_link_seconds
    uploads = Uploads(
        backend, database, store, tokens, inspection, max_bytes=most, lifetime_seconds=lifetime, clock=now_ms
    )
    return objects, uploads, variants


def admin_servicer(
    backends: OpenedBackends, database: Database, decoder: DecoderPool, variants: Variants, settings: StorageSettings
) -> StorageAdminServicer:
    """Build the admin service."""
    store = SqlObjects()
    verification, garbage = (
        Verification(backends.backend, database, store, now_ms),
        GarbageCollection(backends.backend, database, store, now_ms),
    )
    restoration = Restoration(
        backends.backend,
        database,
        store,
        Inspection(backends.backend, decoder),
        settings.max_result_bytes,
        clock=now_ms,
    )
    files = PublicFiles(*settings.files_base_urls)
    migration = ObjectMigration(backends.by_mode, database, store)
    adoption = Adoption(
        backends.backend,
        database,
        store,
        Inspection(backends.backend, decoder),
        max_bytes=settings.max_result_bytes,
        clock=now_ms,
    )
    return StorageAdminServicer(
        verification, migration, garbage, adoption=adoption, variants=variants, restoration=restoration, files=files
    )


async def main() -> None:
    """Run until the process is stopped."""
    settings = load(StorageSettings)
    configure(settings.log_level, settings.log_format, "storage")
    require_addresses(settings, (*LISTENERS, ListenPort.FILES))
    tls = require_tls(settings, "storage")
    signing_keys = open_signing_keys(settings)
    notifier = Notifier()
    freeze_startup_objects()
    async with (
        sole_on_sqlite(settings, "storage"),
        open_database(settings, "storage", notifier) as database,
        open_fetchers(settings) as fetchers,
        open_decoder_pool(settings) as decoder,
    ):
        await require_same_key(database, AGREEMENT, signing_keys)
        await require_same_folder(database, settings)
        store = SqlObjects()
        async with open_backends(
            settings, partial(metadata_of, database, store), partial(is_kept, database, store)
        ) as backends:
            backend = backends.backend
            objects, uploads, variants = build_core(
                settings, backend, database, signing_keys=signing_keys, fetchers=fetchers, decoder=decoder
            )
            context = tls.server_context("files", ENVOY) if tls else None
            readiness = Readiness()
            address = settings.listens(ListenPort.FILES)
            listener = Listener(address, backend, uploads, readiness=readiness, context=context)
            files, links = PublicFiles(*settings.files_base_urls), f"{settings.origin}{UPLOADS}".rstrip("/")
            thumbnails = Thumbnails(variants, database, store, now_ms, notifier)
            eviction = Eviction(backend, database, store, settings.variants_max_bytes, now_ms)
            replays = IdempotencyKeys(database, REQUEST_ANSWER)
            servicer = StorageServicer(objects, uploads, variants, files, links, replays=replays)
            admin = admin_servicer(backends, database, decoder, variants, settings)
            mounts = [
                Mount(storagerpc.add_StorageServiceServicer_to_server, servicer, storagepb.DESCRIPTOR),
                Mount(storageadminrpc.add_StorageAdminServiceServicer_to_server, admin, storageadminpb.DESCRIPTOR),
            ]
            await serve(
                settings,
                LISTENERS,
                mounts,
                tls,
                loops=[
                    listener.run,
                    uploads.reap,
                    thumbnails.run,
                    thumbnails.look,
                    ObjectDeletion(backend, database, store, now_ms).run,
                    partial(SoleLease(database, SOLE_LEASE, EVICTION).run, eviction.run),
                    *backends.loops,
                ],
                pings=[database.ping],
                parts={BYTES: backend.ping, CLOCK: ClockSkew(database).ping},
                readiness=readiness,
            )


if __name__ == "__main__":
    asyncio.run(main())
