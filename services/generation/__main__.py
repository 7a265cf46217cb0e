"""Composition root of the generation service: read settings, build each part with what it uses, serve."""

import asyncio

from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis import logs
from services.chassis.channels import connect
from services.chassis.database import open_database
from services.chassis.files import PublicFiles
from services.chassis.server import Mount, serve
from services.chassis.settings import load
from services.chassis.town import Resident
from services.generation.archive import StorageArchive
from services.generation.bell import Bell
from services.generation.core import Generations
from services.generation.core.links import Links
from services.generation.core.loops import Crew, make_loops
from services.generation.core.mailbox import Mailbox
from services.generation.providers import CALLBACK_KINDS, callback_uris, make_providers
from services.generation.providers.keys import KeyPool
from services.generation.providers.kie import open_kie
from services.generation.providers.models import MODELS
from services.generation.providers.webhooks import KieWebhooks
from services.generation.servicer import GenerationServicer
from services.generation.settings import GenerationSettings
from services.generation.stores.sql import SqlStore


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
        store = SqlStore(database, bell)
        keys = KeyPool(settings.keys)
        providers = make_providers(kie)
        servicer = GenerationServicer(
            Generations(store, bell, MODELS, settings.plan),
            Mailbox(store, KieWebhooks(settings.webhook_keys), CALLBACK_KINDS.values()),
            Links(store, keys, providers),
            PublicFiles(settings.files_base_url),
        )
        mount = Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR)
        archive = StorageArchive(storage)
        crew = Crew(store, bell, keys, providers, archive, callback_uris(settings.origin), settings.plan)
        loops = make_loops(crew, settings.bounds)
        await serve(settings.address(Resident.GENERATION), mount, loops=loops, pings=[database.ping])


if __name__ == "__main__":
    asyncio.run(main())
