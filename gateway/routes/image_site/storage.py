"""The routes that bring pictures in and find them again."""

from operator import attrgetter

from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs, uploads
from gateway.rest import idempotency, multipart, request_fields
from gateway.rest.responses import NO_STORE, Json
from gateway.routes.image_site import object_json, permanent_copies
from gateway.routes.image_site.task_details import named
from services.chassis import names
from services.chassis.public_files import PublicFiles

# Where results lie, also those that older systems left (docs/rest.md#finding-results).
RESULTS = ("generated/", "kie-downloads/")


async def download_url(request: Request) -> Response:
    """POST /api/download-url (docs/rest.md#direct-links)."""
    fields = await request_fields.json_object(request)
    url, task_id = request_fields.web_url("url", fields.required("url").strip()), fields.identifier("taskId")
    link = await stubs.of(request).generation.CreateDownloadLink(permanent_copies.link_request(url, task_id))
    return Json(object_json.link(link, url, task_id), headers=NO_STORE)


async def download_and_upload(request: Request) -> Response:
    """POST /api/download-and-upload (docs/rest.md#imports)."""
    wish = permanent_copies.wish(await request_fields.json_object(request))
    files = PublicFiles(*request.app.state.settings.files_base_urls)
    stored = await permanent_copies.kept(stubs.of(request), files, wish)
    return Json(object_json.kept(stored, wish), headers=NO_STORE)


async def get_generated_url(request: Request) -> Response:
    """GET /api/get-generated-url; what storage knows is told although generation may be away.

    See docs/rest.md#finding-results.
    """
    services = stubs.of(request)
    task_id = request_fields.query_id(request, "taskId")
    stored = await first_of(services, task_id)
    if stored is None and not names.is_new_id("gen", task_id):
        generation = await stubs.found(services.generation.GetGeneration(named(task_id)))
        own = names.parse_id("generations", generation.name) if generation else task_id
        stored = await first_of(services, own) if own != task_id else None
    return Json(object_json.generated(stored), headers=NO_STORE)


async def first_of(services: stubs.Clients, task_id: str) -> storagepb.Object | None:
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
    return Json(object_json.uploaded(stored), headers=NO_STORE | replays)
