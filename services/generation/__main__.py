"""Composition root of the generation service: read settings, build each part with what it uses, serve."""

import asyncio

from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from catalogue import CALLBACK_KINDS
from services.chassis import logs
from services.chassis.addresses import ListenPort
from services.chassis.channels import connect
from services.chassis.clock_skew import CLOCK, ClockSkew
from services.chassis.database import open_database
from services.chassis.event_loop import freeze_startup_objects
from services.chassis.notifier import Notifier
from services.chassis.public_files import PublicFiles
from services.chassis.replicas import sole_on_sqlite
from services.chassis.server import Mount, serve
from services.chassis.settings import load, require_addresses
from services.chassis.tls import require_tls
from services.generation.admin_servicer import GenerationAdminServicer
from services.generation.callbacks.receiver import CallbackReceiver
from services.generation.core.admission import AdmissionControl
from services.generation.core.download_links import DownloadLinks
from services.generation.core.generations import Generations
from services.generation.core.restoration import Restoration
from services.generation.core.timeline import Timeline
from services.generation.core.validation import UrlPolicy
from services.generation.metrics import Gauges
from services.generation.providers import callback_uris, make_providers, open_kie
from services.generation.providers.callback_verification import KieCallbackVerifier
from services.generation.servicer import GenerationServicer
from services.generation.settings import GenerationSettings, warn
from services.generation.storage_client import StorageClient
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from services.generation.stores.key_pool import open_key_pool
from services.generation.stores.leases import make_parking
from services.generation.workers.loops import Workers, make_loops
from services.generation.workers.prune import Pruner

LISTENERS = (ListenPort.GENERATION, ListenPort.GENERATION_METRICS)


async def main() -> None:
    """Run the service until SIGTERM or SIGINT."""
    settings = load(GenerationSettings)
    logs.configure(settings.log_level, settings.log_format, "generation")
    require_addresses(settings, LISTENERS, ["storage"])
    tls = require_tls(settings, "generation")
    freeze_startup_objects()
    notifier = Notifier()
    async with (
        sole_on_sqlite(settings, "generation"),
        open_database(settings, "generation", notifier) as database,
        open_kie(settings.kie_ai_base_url) as kie,
        connect(settings, "storage") as storage_channel,
    ):
        store, inbox = SqlGenerationStore(), SqlInbox()
        parking = make_parking(database)
        key_pool = await open_key_pool(database, settings.keys, settings.generation_creates_per_window)
        warn(settings, await key_pool.listing())
        providers, models, timing = make_providers(kie), settings.models, settings.timing
        files = PublicFiles(*settings.files_base_urls)
        admission = AdmissionControl(database, store, notifier, key_pool, timing)
        quotas = {"daily_quota": settings.generation_daily_quota, "site_orders": settings.effective_site_orders}
        storage = StorageClient(storage_channel)
        url_policy = UrlPolicy(files, storage, settings.outbound_allow_private)
        generations = Generations(database, store, notifier, admission, models, url_policy=url_policy, **quotas)
        verifier = KieCallbackVerifier(settings.callback_keys)
        receiver = CallbackReceiver(database, store, inbox, verifier, CALLBACK_KINDS.values())
        links = DownloadLinks(database, store, key_pool, providers, url_policy)
        servicer = GenerationServicer(generations, receiver, links, files)
        workers = Workers(
            database,
            store,
            inbox,
            notifier,
            key_pool,
            kie,
            providers,
            models,
            storage,
            callback_uris(settings.origin),
            timing,
            parking,
        )
        restoration = Restoration(database, store, workers.copier, models, timing)
        admin = GenerationAdminServicer(
            key_pool,
            workers.health_checks,
            Timeline(database, store, workers.poller, key_pool, workers.parking),
            restoration,
            parked_work=workers.parked_work,
            files=files,
        )
        mounts = [
            Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR),
            Mount(generationadminrpc.add_GenerationAdminServiceServicer_to_server, admin, generationadminpb.DESCRIPTOR),
        ]
        gauges = Gauges(lambda: database.read(store.backlog), key_pool.listing, parking.measure)
        pruner = Pruner(database, store, inbox, timing)
        loops = [*make_loops(workers, settings.concurrency), pruner.run]
        await serve(
            settings,
            LISTENERS,
            mounts,
            tls,
            refresh=gauges.refresh,
            loops=loops,
            pings=[database.ping],
            parts={CLOCK: ClockSkew(database).ping},
            on_drain=notifier.close,
        )


if __name__ == "__main__":
    asyncio.run(main())
