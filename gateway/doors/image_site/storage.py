"""The routes that bring pictures in and find them again."""

from operator import attrgetter

from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response

from gateway import clients, multipart, parse, uploads
from gateway.answers import NO_STORE, Json
from gateway.doors.image_site import keeping, objects
from gateway.doors.image_site.details import named
from services.chassis.files import PublicFiles
from services.chassis.names import parse_id


async def download_url(request: Request) -> Response:
    """POST /api/download-url (contract.md A5)."""
    fields = await parse.json_object(request)
    url, task_id = parse.web_url("url", fields.required("url").strip()), fields.identifier("taskId")
    link = await clients.of(request).generation.CreateDownloadLink(keeping.link_request(url, task_id))
    return Json(objects.link(link, url, task_id), headers=NO_STORE)


async def download_and_upload(request: Request) -> Response:
    """POST /api/download-and-upload (contract.md A6)."""
    wish = keeping.wish(await parse.json_object(request))
    files = PublicFiles(*request.app.state.settings.files_base_urls)
    stored = await keeping.kept(clients.of(request), files, wish)
    return Json(objects.kept(stored, wish), headers=NO_STORE)


async def get_generated_url(request: Request) -> Response:
    """GET /api/get-generated-url (contract.md A7)."""
    services = clients.of(request)
    task_id = parse.query_id(request, "taskId")
    generation = await clients.found(services.generation.GetGeneration(named(task_id)))
    stored = await first_of(services, generation) if generation else None
    return Json(objects.generated(stored), headers=NO_STORE)


async def first_of(services: clients.Clients, generation: generationpb.Generation) -> storagepb.Object | None:
    """The newest stored copy of a generation's first picture."""
    wanted = storagepb.ListObjectsRequest(generation_id=parse_id("generations", generation.name))
    page = await services.storage.ListObjects(wanted)
    return min(page.objects, key=attrgetter("index"), default=None)


async def upload_image(request: Request) -> Response:
    """POST /api/upload-image (contract.md A8)."""
    limit = request.app.state.settings.max_upload_bytes
    file = await multipart.incoming_file(request, limit)
    stored = await uploads.store(clients.of(request).storage, file.name, file.chunks, limit)
    return Json(objects.uploaded(stored), headers=NO_STORE)
