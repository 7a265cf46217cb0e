"""The door for people with a browser: the start page, the gallery, the page of each share, and what these load."""

from http import HTTPStatus
from typing import cast

from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import clients, failures
from gateway.pages import assets, gallery, studio, views
from gateway.pages.templates import render
from services.chassis.errors import KawaiiError

ROBOTS = "User-agent: *\nDisallow: /api/\n"


async def start(request: Request) -> Response:
    """The start page: make a picture, see the latest."""
    found = await gallery.latest(clients.of(request).share)
    latest = None if found is None else views.cards(found)
    files = request.app.state.settings.files_base_url
    return render("start.html", origin=origin_of(request), files=files, studio=studio, latest=latest)


async def share(request: Request) -> Response:
    """The page of one share."""
    return await shown(request, request.path_params["id"])


async def shares(request: Request) -> Response:
    """The gallery, from ?cursor= on; with ?id= the page of one share, as older links have it."""
    if identifier := request.query_params.get("id"):
        return await shown(request, identifier)
    page = await gallery.page(clients.of(request).share, request.query_params.get("cursor", ""))
    return render(
        "gallery.html", origin=origin_of(request), cards=views.cards(page.shares), cursor=page.next_page_token
    )


async def shown(request: Request, identifier: str) -> Response:
    """A share, looked up and rendered."""
    found = await gallery.find(clients.of(request).share, identifier)
    return render("share.html", origin=origin_of(request), share=views.share_page(found))


async def asset(request: Request) -> Response:
    """A style sheet, script or icon."""
    return assets.find(request.path_params["file"]).answer(request)


async def favicon(request: Request) -> Response:
    """The icon under the name browsers ask for unasked."""
    return assets.find("icon.svg").answer(request)


async def robots(_request: Request) -> Response:
    """What crawlers may read: pages and pictures, not the API."""
    return PlainTextResponse(ROBOTS)


async def in_words(_request: Request, failure: Exception) -> Response:
    """A failure as a page: people get words where programs get JSON."""
    error = cast("KawaiiError", failure)
    status = failures.status_of(error)
    ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    response = render("resting.html" if ours else "missing.html", status)
    response.headers.update(failures.headers_of(error, status))
    return response


def origin_of(request: Request) -> str:
    """The public origin of the site, without a trailing slash."""
    return str(request.app.state.settings.origin)


IN_WORDS = [Middleware(ExceptionMiddleware, handlers={KawaiiError: in_words})]

ROUTES: list[BaseRoute] = [
    Route("/", start, middleware=IN_WORDS),
    Route("/share", shares, middleware=IN_WORDS),
    Route("/share/{id}", share, middleware=IN_WORDS),
    Route("/assets/{file}", asset),
    Route("/favicon.ico", favicon),
    Route("/robots.txt", robots),
]
