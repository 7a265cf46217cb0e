"""The routes that bring pictures in and find them again: uploads, permanent copies, direct links."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs, uploads
from gateway.clients.stubs import Clients, found
from gateway.rest import idempotency, multipart, request_fields
from gateway.rest.request_fields import Fields, web_url
from gateway.rest.responses import NO_STORE, Json
from gateway.routes.image_site.tasks import generation_request
from services.chassis import names
from services.chassis.errors import invalid_field
from services.chassis.names import parse_key
from services.chassis.public_files import PublicFiles

# Where results lie, also those that older systems left (docs/rest.md#finding-results).
RESULTS = ("generated/", "kie-downloads/")

IMPORT_SECONDS = 35.0  # above one whole fetch (30 s); the edge waits 60 s, for the calls before it too

LINK_LIFETIME = "20 minutes"  # the provider's own words (docs/rest.md#direct-links)
NOT_FOUND = "文件尚未上传到R2"  # the words of S0 (docs/rest.md#finding-results)


async def download_url(request: Request) -> Response:
    """POST /api/download-url (docs/rest.md#direct-links)."""
    fields = await request_fields.json_object(request)
    url, task_id = request_fields.web_url("url", fields.required("url").strip()), fields.identifier("taskId")
    link = await stubs.of(request).generation.CreateDownloadLink(_link_request(url, task_id))
    return Json(_link_json(link, url, task_id), headers=NO_STORE)


async def download_and_upload(request: Request) -> Response:
    """POST /api/download-and-upload (docs/rest.md#imports)."""
    wanted = _copy_request(await request_fields.json_object(request))
    files = PublicFiles(*request.app.state.settings.files_base_urls)
    stored = await _permanent_copy(stubs.of(request), files, wanted)
    return Json(_copy_json(stored, wanted), headers=NO_STORE)


async def get_generated_url(request: Request) -> Response:
    """GET /api/get-generated-url; what storage has is answered also while generation is away.

    See docs/rest.md#finding-results.
    """
    services = stubs.of(request)
    task_id = request_fields.query_id(request, "taskId")
    stored = await _first_of(services, task_id)
    if stored is None and not names.is_new_id("gen", task_id):
        generation = await stubs.found(services.generation.GetGeneration(generation_request(task_id)))
        own = names.parse_id("generations", generation.name) if generation else task_id
        stored = await _first_of(services, own) if own != task_id else None
    return Json(_result_json(stored), headers=NO_STORE)


async def _first_of(services: stubs.Clients, task_id: str) -> storagepb.Object | None:
    """The newest stored copy of a task's first picture."""
    page = await services.storage.ListObjects(storagepb.ListObjectsRequest(generation_id=task_id))
    results = [found for found in page.objects if names.parse_key(found.name).startswith(RESULTS)]
    return min(results, key=attrgetter("index"), default=None)


async def upload_image(request: Request) -> Response:
    """POST /api/upload-image (docs/rest.md#uploads)."""
    limit = request.app.state.settings.max_upload_bytes
    key, replays = await idempotency.request_key(request, read_body=False), dict[str, str]()
    file = await multipart.incoming_file(request, limit)
    storage = stubs.of(request).storage
    stored = await uploads.store(storage, file.name, file.chunks, limit, metadata=key.metadata, replays=replays)
    return Json(_upload_json(stored), headers=NO_STORE | replays)


@dataclass(frozen=True)
class CopyRequest:
    """What a client asks to keep: a URL, and perhaps the task it is of and a name for the file."""

    url: str
    task_id: str
    file_name: str


def _copy_request(fields: Fields) -> CopyRequest:
    """Read the body; kieImageUrl wins over url."""
    url = fields.text("kieImageUrl").strip() or fields.text("url").strip()
    if not url:
        raise invalid_field("url", "url is missing: give the picture's URL as url or kieImageUrl.")
    return CopyRequest(web_url("url", url), fields.identifier("taskId"), fields.text("fileName"))


async def _permanent_copy(services: Clients, files: PublicFiles, asked: CopyRequest) -> storagepb.Object:
    """The stored object: ours already, the copy of a known generation's picture, or a new import."""
    if key := files.key(asked.url):
        return await _stored_object(services, names.name("objects", key))
    task = await found(services.generation.GetGeneration(generation_request(asked.task_id))) if asked.task_id else None
    generation = task or generationpb.Generation()
    output = next((output for output in generation.outputs if output.source_uri == asked.url), None)
    if output:
        return await _copied(services, generation, output)
    return await _imported(services, asked, "" if task else asked.task_id)


async def _copied(
    services: Clients, generation: generationpb.Generation, output: generationpb.Generation.Output
) -> storagepb.Object:
    """The copy of a generation's picture, made now when the service has not made it yet; either way there is one."""
    if output.object:
        return await _stored_object(services, output.object)
    request = storagepb.ImportObjectRequest(
        source_uri=output.source_uri,
        generation_id=names.parse_id("generations", generation.name),
        index=output.index,
        file_stem=output.file_stem,
    )
    return await services.storage.ImportObject(request, timeout=IMPORT_SECONDS)


async def _imported(services: Clients, asked: CopyRequest, foreign_task: str) -> storagepb.Object:
    """A copy of a picture that belongs to no generation of ours, by a direct link where the provider gives one.

    The copy is found again by a task id that is not ours; to a task of ours no client may add pictures.
    """
    link = await services.generation.CreateDownloadLink(_link_request(asked.url, asked.task_id))
    request = storagepb.ImportObjectRequest(
        source_uri=asked.url,
        download_uri=link.uri if link.direct else "",
        file_name=asked.file_name,
        task_id=foreign_task,
    )
    return await services.storage.ImportObject(request, timeout=IMPORT_SECONDS)


async def _stored_object(services: Clients, name: str) -> storagepb.Object:
    """The object of a name; storage answers NOT_FOUND when there is none."""
    return await services.storage.GetObject(storagepb.GetObjectRequest(name=name))


def _link_request(url: str, task_id: str) -> generationpb.CreateDownloadLinkRequest:
    """The request for a direct link."""
    return generationpb.CreateDownloadLinkRequest(uri=url, generation=names.name("generations", task_id))


def _link_json(found: generationpb.DownloadLink, url: str, task_id: str) -> dict[str, Any]:
    """Where to download a picture now."""
    if not found.direct:
        return {"success": True, "downloadUrl": found.uri, "isDirectUrl": True}
    return {
        "success": True,
        "downloadUrl": found.uri,
        "originalUrl": url,
        "taskId": task_id or None,
        "expiresIn": LINK_LIFETIME,
    }


def _copy_json(stored: storagepb.Object, asked: CopyRequest) -> dict[str, Any]:
    """The answer that shows a permanent copy."""
    key = parse_key(stored.name)
    return {
        "success": True,
        "publicUrl": stored.uri,
        "url": stored.uri,
        "key": key,
        "fileName": key.rpartition("/")[2],
        "size": stored.size_bytes,
        "contentType": stored.content_type,
        "taskId": asked.task_id or stored.generation_id or None,
        "originalUrl": asked.url,
    }


def _upload_json(stored: storagepb.Object) -> dict[str, Any]:
    """The answer that shows an uploaded picture."""
    return {
        "success": True,
        "fileUrl": stored.uri,
        "fileName": stored.original_name,
        "fileType": stored.content_type,
        "fileSize": stored.size_bytes,
        "key": parse_key(stored.name),
        "message": "The picture is uploaded.",
    }


def _result_json(stored: storagepb.Object | None) -> dict[str, Any]:
    """Whether a task's picture is stored, and where."""
    if stored is None:
        return {"success": True, "found": False, "message": NOT_FOUND}
    return {"success": True, "found": True, "url": stored.uri, "key": parse_key(stored.name)}
