"""Finds or makes the permanent copy of a picture that a client asks to keep (docs/rest.md#imports)."""

from dataclasses import dataclass

from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.storage.v1 import storage_pb2 as storagepb

from gateway.clients.stubs import Clients, found
from gateway.rest.request_fields import Fields, web_url, wrong
from gateway.routes.image_site.task_details import named
from services.chassis import names
from services.chassis.public_files import PublicFiles

IMPORT_SECONDS = 35.0  # above one whole fetch (30 s); the edge waits 60 s, for the calls before it too


@dataclass(frozen=True)
class Wish:
    """What a client asks to keep: a URL, and perhaps the task it is of and a name for the file."""

    url: str
    task_id: str
    file_name: str


def wish(fields: Fields) -> Wish:
    """Read the body; kieImageUrl wins over url."""
    url = fields.text("kieImageUrl").strip() or fields.text("url").strip()
    if not url:
        raise wrong("url", "url is missing: give the picture's URL as url or kieImageUrl.")
    return Wish(web_url("url", url), fields.identifier("taskId"), fields.text("fileName"))


async def kept(services: Clients, files: PublicFiles, asked: Wish) -> storagepb.Object:
    """The stored object: ours already, the copy of a known generation's picture, or a new import."""
    if key := files.key(asked.url):
        return await stored(services, names.name("objects", key))
    task = await found(services.generation.GetGeneration(named(asked.task_id))) if asked.task_id else None
    generation = task or generationpb.Generation()
    output = next((output for output in generation.outputs if output.source_uri == asked.url), None)
    if output:
        return await copied(services, generation, output)
    return await imported(services, asked, "" if task else asked.task_id)


async def copied(
    services: Clients, generation: generationpb.Generation, output: generationpb.Generation.Output
) -> storagepb.Object:
    """The copy of a generation's picture, made now when the service has not made it yet; either way there is one."""
    if output.object:
        return await stored(services, output.object)
    request = storagepb.ImportObjectRequest(
        source_uri=output.source_uri,
        generation_id=names.parse_id("generations", generation.name),
        index=output.index,
        file_stem=output.file_stem,
    )
    return await services.storage.ImportObject(request, timeout=IMPORT_SECONDS)


async def imported(services: Clients, asked: Wish, foreign_task: str) -> storagepb.Object:
    """A copy of a picture that belongs to no generation of ours, by a direct link where the provider gives one.

    It is found again by a task that is not ours; to a task of ours nobody may add pictures.
    """
    link = await services.generation.CreateDownloadLink(link_request(asked.url, asked.task_id))
    request = storagepb.ImportObjectRequest(
        source_uri=asked.url,
        download_uri="" if link.direct else link.uri,
        file_name=asked.file_name,
        task_id=foreign_task,
    )
    return await services.storage.ImportObject(request, timeout=IMPORT_SECONDS)


async def stored(services: Clients, name: str) -> storagepb.Object:
    """An object that storage has."""
    return await services.storage.GetObject(storagepb.GetObjectRequest(name=name))


def link_request(url: str, task_id: str) -> generationpb.CreateDownloadLinkRequest:
    """The request for a direct link."""
    return generationpb.CreateDownloadLinkRequest(uri=url, generation=task_id)
