"""Composition root of the generation service: read settings, build each part with what it uses, serve."""

import asyncio

from kawaii.generation.v1 import admin_pb2 as adminpb
from kawaii.generation.v1 import admin_pb2_grpc as adminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis import logs
from services.chassis.channels import connect
from services.chassis.database import open_database
from services.chassis.exposition import Exposition
from services.chassis.files import PublicFiles
from services.chassis.server import Mount, serve
from services.chassis.settings import load
from services.chassis.skew import CLOCK, Skew
from services.chassis.town import Resident
from services.generation.admin_servicer import GenerationAdminServicer
from services.generation.archive import StorageArchive
from services.generation.bell import Bell
from services.generation.core import Counter, Generations, History, Links, Mailbox
from services.generation.core.loops import Crew, make_loops
from services.generation.core.pictures import Pictures
from services.generation.core.records import Records
from services.generation.core.sweeper import Sweeper
from services.generation.gauges import Gauges
from services.generation.providers import CALLBACK_KINDS, MODELS, callback_uris, make_providers, open_kie
from services.generation.providers.webhooks import KieWebhooks
from services.generation.servicer import GenerationServicer
from services.generation.settings import GenerationSettings
from services.generation.start import announce
from services.generation.stores import SqlCensus, SqlInbox, SqlRetention, SqlStore, make_parking, open_keys


async def main() -> None:
    """Run the service until it is told to stop."""
    settings = load(GenerationSettings)
    logs.configure(settings.log_level, settings.log_format, "generation")
    async with (
        open_database(settings, "generation") as database,
        open_kie(settings.kie_ai_base_url) as kie,
        connect(settings.address(Resident.STORAGE)) as storage,
    ):
        bell = Bell()
        store, inbox = SqlStore(database, bell), SqlInbox(database, bell)
        parking = make_parking(database)
        keys = await open_keys(database, bell, settings.keys, settings.generation_creates_per_window)
        announce(settings, await keys.listing())
        providers, plan, files = make_providers(kie), settings.plan, PublicFiles(*settings.files_base_urls)
        counter = Counter(store, bell, keys, plan)
        quotas = {"daily_quota": settings.generation_daily_quota, "site_orders": settings.effective_site_orders}
        archive = StorageArchive(storage)
        pictures = Pictures(files, archive, settings.outbound_allow_private)
        generations = Generations(store, bell, counter, MODELS, pictures, **quotas)
        mailbox = Mailbox(store, inbox, KieWebhooks(settings.webhook_keys), CALLBACK_KINDS.values())
        servicer = GenerationServicer(generations, mailbox, Links(store, keys, providers, pictures), files)
        crew = Crew(store, inbox, bell, keys, kie, providers, archive, callback_uris(settings.origin), plan, parking)
        records = Records(store, crew.keeper, MODELS, plan)
        admin = GenerationAdminServicer(
            crew.warden, History(store, crew.poller, keys, crew.parking), records, crew.poison, files
        )
        mounts = [
            Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR),
            Mount(adminrpc.add_GenerationAdminServiceServicer_to_server, admin, adminpb.DESCRIPTOR),
        ]
        gauges = Gauges(SqlCensus(database).take, keys.listing, parking.measure)
        retention = SqlRetention(database)
        sweeper = Sweeper(retention.prune_events, retention.prune_callbacks, plan)
        exposition = Exposition(settings.address(Resident.GENERATION_METRICS), gauges.refresh)
        loops = [*make_loops(crew, settings.bounds), sweeper.run, exposition.run]
        await serve(
            settings.address(Resident.GENERATION),
            mounts,
            loops=loops,
            pings=[database.ping],
            parts={CLOCK: Skew(database).ping},
            farewell=bell.close,
        )


if __name__ == "__main__":
    asyncio.run(main())
