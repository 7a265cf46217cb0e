"""Wires the application: one route table, one list of layers around it, one table of failures."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from gateway import failures
from gateway.clients import Clients
from gateway.doors import callbacks, image_site, pages, probes
from gateway.middleware.access_log import AccessLog
from gateway.middleware.body_limit import BodyLimit
from gateway.middleware.cors import Cors
from gateway.middleware.request_id import RequestId
from gateway.middleware.security_headers import SecurityHeaders
from gateway.settings import GatewaySettings

FORM_BYTES = 64 * 1024  # what a form may take beside its file: boundaries, part headers, small fields

ROUTES: Sequence[BaseRoute] = (*image_site.ROUTES, *callbacks.ROUTES, *probes.ROUTES, *pages.ROUTES)


def layers(settings: GatewaySettings) -> list[Middleware]:
    """What happens around every request, outermost first."""
    limits = {
        "/api/upload-image": settings.max_upload_bytes + FORM_BYTES,
        "/api/callback/": settings.max_callback_bytes,
    }
    return [
        Middleware(RequestId),
        Middleware(AccessLog),
        Middleware(Cors, settings.cors_allowed_origins),
        Middleware(SecurityHeaders),
        Middleware(BodyLimit, settings.max_json_bytes, limits),
    ]


def make_app(settings: GatewaySettings, clients: Clients) -> ASGIApp:
    """The application over services that are reached by `clients`.

    The layers lie around Starlette, not inside it, so that the answer to a bug of ours passes through them too.
    """
    site = Starlette(routes=ROUTES, exception_handlers=failures.HANDLERS)
    site.router.redirect_slashes = False  # a redirect is not JSON, and loses the body of a POST
    site.state.settings, site.state.clients = settings, clients
    app: ASGIApp = site
    for layer, args, kwargs in reversed(layers(settings)):
        app = layer(app, *args, **kwargs)
    return app
