"""Puts the storage service together and runs it."""

import asyncio
import time
from functools import partial

from kawaii.storage.v1 import admin_pb2 as adminpb
from kawaii.storage.v1 import admin_pb2_grpc as adminrpc
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.database import open_database
from services.chassis.exposition import Exposition
from services.chassis.files import PublicFiles
from services.chassis.logs import configure
from services.chassis.replays import Replays
from services.chassis.secret import key_of_file
from services.chassis.server import Mount, serve
from services.chassis.settings import load
from services.chassis.skew import CLOCK, Skew
from services.chassis.town import Resident
from services.storage.admin_servicer import StorageAdminServicer
from services.storage.backends import House, opened
from services.storage.core import Objects, Uploads, Variants
from services.storage.core.adoption import Adoption
from services.storage.core.deletion import Deletion
from services.storage.core.eviction import Eviction
from services.storage.core.garbage import Garbage
from services.storage.core.intake import Intake
from services.storage.core.migration import Migration
from services.storage.core.objects import Limits
from services.storage.core.recipes import Recipes
from services.storage.core.register import is_kept, label_of
from services.storage.core.restoring import Restorer
from services.storage.core.seals import Seals
from services.storage.core.tickets import Tickets
from services.storage.core.verification import Verification
from services.storage.fetcher import open_fetchers
from services.storage.listener import UPLOADS, Listener
from services.storage.pictures import STUDIOS
from services.storage.ports import Backend, Fetchers, ObjectStore, Studio
from services.storage.servicer import StorageServicer
from services.storage.settings import StorageSettings
from services.storage.stores import STORES
from services.storage.stores.sql import REQUEST_ANSWER

BYTES = "bytes"  # the part of our health that is the disk or the bucket


def clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def business(
    settings: StorageSettings, backend: Backend, store: ObjectStore, fetchers: Fetchers, studio: Studio
) -> tuple[Objects, Uploads, Variants]:
    """What the service can do, over its adapters."""
    limits = Limits(settings.max_upload_bytes, settings.max_result_bytes)
    intake = Intake(backend, studio)
    recipes = Recipes(Seals(key_of_file(settings.data_dir / "storage-variant.key")))
    most, budget = limits.result_bytes, settings.variant_bytes_per_picture
    variants = Variants(backend, store, studio, recipes, max_bytes=most, budget_bytes=budget, clock=clock)
    own_key, thumbed = PublicFiles(*settings.files_base_urls).key, variants.wants_thumb
    objects = Objects(backend, store, fetchers, intake, limits, own_key=own_key, on_upload=thumbed, clock=clock)
    tickets = Tickets(key_of_file(settings.data_dir / "storage-link.key"))
    most, lifetime = limits.upload_bytes, settings.upload_link_seconds
    uploads = Uploads(backend, store, tickets, intake, max_bytes=most, lifetime_seconds=lifetime, clock=clock)
    return objects, uploads, variants


def housekeeping(
    house: House, store: ObjectStore, studio: Studio, variants: Variants, settings: StorageSettings
) -> StorageAdminServicer:
    """What operators can do."""
    verification, garbage = Verification(house.backend, store, clock), Garbage(house.backend, store, clock)
    restorer = Restorer(
        house.backend,
        store,
        Intake(house.backend, studio),
        settings.max_result_bytes,
        on_restored=variants.wants_thumb,
        clock=clock,
    )
    files = PublicFiles(*settings.files_base_urls)
    migration = Migration(house.places, store)
    adoption = Adoption(house.backend, store, Intake(house.backend, studio), settings.max_result_bytes, clock)
    return StorageAdminServicer(
        verification, migration, garbage, adoption=adoption, variants=variants, restorer=restorer, files=files
    )


async def main() -> None:
    """Run until told to stop."""
    settings = load(StorageSettings)
    configure(settings.log_level, settings.log_format, "storage")
    async with (
        open_database(settings, "storage") as database,
        open_fetchers(settings) as fetchers,
        STUDIOS["pillow"](settings) as studio,
    ):
        store = STORES["sql"](database)
        async with opened(settings, partial(label_of, store), partial(is_kept, store)) as house:
            backend = house.backend
            objects, uploads, variants = business(settings, backend, store, fetchers, studio)
            listener = Listener(settings.address(Resident.FILES), backend, uploads)
            files, links = PublicFiles(*settings.files_base_urls), f"{settings.origin}{UPLOADS}".rstrip("/")
            replays = Replays(database, REQUEST_ANSWER)
            servicer = StorageServicer(objects, uploads, variants, files, links, replays=replays)
            admin = housekeeping(house, store, studio, variants, settings)
            mounts = [
                Mount(storagerpc.add_StorageServiceServicer_to_server, servicer, storagepb.DESCRIPTOR),
                Mount(adminrpc.add_StorageAdminServiceServicer_to_server, admin, adminpb.DESCRIPTOR),
            ]
            exposition = Exposition(settings.address(Resident.STORAGE_METRICS))
            await serve(
                settings.address(Resident.STORAGE),
                mounts,
                loops=[
                    listener.run,
                    uploads.reap,
                    variants.make_thumbs,
                    Deletion(backend, store, clock).run,
                    Eviction(backend, store, settings.variants_max_bytes, clock).run,
                    exposition.run,
                    *house.loops,
                ],
                pings=[database.ping],
                parts={BYTES: backend.ping, CLOCK: Skew(database).ping},
            )


asyncio.run(main())
