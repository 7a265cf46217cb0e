"""The routes of the first family, the image site (S0, S1), one module for each concern."""

from gateway.rest.rate_limits import limited
from gateway.rest.responses import route
from gateway.routes.image_site import openapi, orders, shares, storage, tasks

# Static paths stand before those with an id: `list` and `latest` are no ids.
ROUTES = [
    route("/api/generate-image", POST=limited("orders", orders.gpt4o_image)),
    route("/api/flux-kontext/generate", POST=limited("orders", orders.flux_kontext)),
    route("/api/nano-banana/generate", POST=limited("orders", orders.nano_banana)),
    route("/api/image-details", GET=tasks.gpt4o_image),
    route("/api/flux-kontext/image-details", GET=tasks.flux_kontext),
    route("/api/nano-banana/image-details", GET=tasks.nano_banana),
    route("/api/task-status", GET=tasks.task_status),
    route("/api/poll-task", GET=tasks.poll_task),
    route("/api/download-url", POST=limited("imports", storage.download_url)),
    route("/api/download-and-upload", POST=limited("imports", storage.download_and_upload)),
    route("/api/get-generated-url", GET=storage.get_generated_url),
    route("/api/upload-image", POST=limited("uploads", storage.upload_image)),
    route("/api/share", GET=shares.read_by_query, POST=limited("shares", shares.create)),
    route("/api/share/list", GET=shares.list_),
    route("/api/share/latest", GET=shares.latest),
    route("/api/share/{id}", GET=shares.read, PUT=shares.update, DELETE=shares.delete),
    route("/api/openapi.json", GET=openapi.openapi),
]
