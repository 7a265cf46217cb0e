"""Wires the application: one route table, one list of layers around it, one table of failures."""

import asyncio
from collections.abc import Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from gateway.auth.authenticator import authenticator, sign_in
from gateway.clients.batched_reads import ShareReads
from gateway.clients.stubs import Clients
from gateway.clients.watches import Watches
from gateway.middleware.headers import Cors, SecurityHeaders
from gateway.middleware.limits import BodyLimit, ClientLimits, Deadline, LargeOrders
from gateway.middleware.observation import Observation, RequestId
from gateway.pages.sitemap import SitemapFiles
from gateway.response_cache import ByteCache, FastPath, LayerHeaders, ResponseCacheLayer
from gateway.rest import errors
from gateway.rest.rate_limits import Buckets, LocalBuckets, RateLimits
from gateway.rest.responses import Json
from gateway.routes import callbacks, community, export, health, image_site, media, pages
from gateway.routes.community.viewers import KnownUsers
from gateway.routes.image_site import shares
from gateway.settings import GatewaySettings
from services.chassis.client_address import ClientLimit
from services.chassis.errors import KawaiiError
from services.chassis.origins import ANY_ORIGIN

# What takes pictures as data: URIs, for which a JSON body may be larger.
ORDER_PATHS = ("/api/generate-image", "/api/flux-kontext/generate", "/api/nano-banana/generate")
# Of these a client may have a quarter of what Envoy lets through, and half of the webhooks: one provider sends most.
UPLOADS_PER_CLIENT, EXPORTS_PER_CLIENT, CALLBACKS_PER_CLIENT = 16, 4, 64
UPLOAD_PATHS = (
    "/api/upload-image",
    "/api/artworks/upload",
    "/api/download-and-upload",
    "/api/artworks/save-draft",
    "/api/artworks/publish",
)
FORM_BYTES = 64 * 1024  # what a form may take beside its file: boundaries, part headers, small fields

ROUTES: Sequence[BaseRoute] = (
    *image_site.ROUTES,
    *media.ROUTES,
    *community.ROUTES,
    *callbacks.ROUTES,
    *export.ROUTES,
    *health.ROUTES,
    *pages.ROUTES,
)


def header_layers(settings: GatewaySettings) -> list[Middleware]:
    """The layers that write their headers on every answer."""
    return [
        Middleware(SecurityHeaders, settings.origin),
        Middleware(Cors, settings.cors_allowed_origins),
    ]


def layers(settings: GatewaySettings, kept: ByteCache, quick: FastPath) -> list[Middleware]:
    """The layers around every request, outermost first."""
    limits = {
        "/api/upload-image": settings.max_upload_bytes + FORM_BYTES,
        "/api/artworks/upload": settings.max_upload_bytes + FORM_BYTES,
        "/api/callback/": settings.max_callback_bytes,
        **dict.fromkeys(ORDER_PATHS, settings.max_json_bytes + encoded_bytes(settings.max_upload_bytes)),
    }
    kinds, streams, others = client_limits(settings)
    return [
        Middleware(ClientLimits, kinds, streams, others, partial(refused, settings)),
        Middleware(ResponseCacheLayer, kept, quick.answer, listed_origins(settings)),
        Middleware(RequestId),
        Middleware(Observation),
        *header_layers(settings),
        Middleware(BodyLimit, settings.max_json_bytes, limits),
        Middleware(
            LargeOrders,
            settings.max_json_bytes,
            settings.max_large_orders,
            settings.max_large_orders_per_client,
            ORDER_PATHS,
        ),
        Middleware(Deadline),
    ]


def client_limits(settings: GatewaySettings) -> tuple[list[tuple[str, ClientLimit]], ClientLimit, ClientLimit]:
    """The bounds on what a client may have under way, of each kind that has a cluster in deploy/envoy/envoy.yaml.j2.

    By the beginnings of paths; then of all other requests with a body that streams, which share the uploads' cluster
    and bound; and of the rest.
    """
    uploads = ClientLimit(UPLOADS_PER_CLIENT, "uploads, imports and large requests")
    images = ClientLimit(settings.max_requests_per_client, "pictures")
    exports = ClientLimit(EXPORTS_PER_CLIENT, "exports")
    kinds = [
        *((path, uploads) for path in UPLOAD_PATHS),
        *((path, images) for path in ("/api/img", "/api/images/")),
        *((path, exports) for path in ("/api/export", "/api/users/me/export")),
        ("/api/callback/", ClientLimit(CALLBACKS_PER_CLIENT, "webhooks")),
        # One more than watches.py lets in, which refuses in words that say what to do instead.
        ("/api/poll-task", ClientLimit(settings.max_watches_per_client + 1, "event streams")),
    ]
    return kinds, uploads, ClientLimit(settings.max_requests_per_client, "requests")


def fast_path(settings: GatewaySettings, reads: ShareReads) -> FastPath:
    """The fast path for reads of one share, with the headers that the layers would write."""
    return FastPath(reads, LayerHeaders(header_layers(settings), Json.media_type, shares.INDEXED), shares.rendered)


def encoded_bytes(size: int) -> int:
    """The length of so many bytes as base64."""
    return -(-size // 3) * 4


def listed_origins(settings: GatewaySettings) -> frozenset[str]:
    """The origins that CORS names in its answers; none where every page may read."""
    return frozenset(settings.cors_allowed_origins) - set(ANY_ORIGIN)


def own_origins(settings: GatewaySettings) -> frozenset[str]:
    """The pages that may write with a session cookie: our own, and those of the list."""
    return frozenset({settings.origin, *settings.cors_allowed_origins} - set(ANY_ORIGIN))


def refused(settings: GatewaySettings, error: KawaiiError) -> ASGIApp:
    """The application that answers a request with this error, logged and counted like any other."""
    app: ASGIApp = errors.answer(error)
    beside = [Middleware(RequestId), Middleware(Observation), *header_layers(settings)]
    for layer, args, kwargs in reversed(beside):
        app = layer(app, *args, **kwargs)
    return app


def make_app(
    settings: GatewaySettings,
    clients: Clients,
    leaving: asyncio.Event | None = None,
    kept: ByteCache | None = None,
    buckets: Buckets | None = None,
) -> ASGIApp:
    """The application over services that are reached by `clients`; once `leaving` is set its streams end.

    `kept` caches responses; the caller clears it when a change is announced.

    The layers lie around Starlette, not inside it, so that the answer to a bug of ours passes through them too.
    """
    site = Starlette(routes=ROUTES, exception_handlers=errors.HANDLERS)
    site.router.redirect_slashes = False  # a redirect is not JSON, and loses the body of a POST
    site.state.settings, site.state.clients = settings, clients
    site.state.authenticator, site.state.login = authenticator(settings, own_origins(settings)), sign_in(settings)
    site.state.known_users = KnownUsers()
    site.state.rate_limits = RateLimits.of(settings.rate_limits, buckets or LocalBuckets())
    site.state.share_reads = ShareReads(clients)
    site.state.sitemap_files = SitemapFiles(clients, settings.origin, settings.sitemap_cache_seconds)
    site.state.watches = Watches(settings.max_watches, settings.max_watches_per_client, leaving or asyncio.Event())
    app: ASGIApp = site
    if kept is None:  # an empty one is false
        kept = ByteCache(settings.read_cache_seconds, settings.read_cache_bytes)
    for layer, args, kwargs in reversed(layers(settings, kept, fast_path(settings, site.state.share_reads))):
        app = layer(app, *args, **kwargs)
    return app
