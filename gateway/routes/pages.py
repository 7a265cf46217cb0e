"""The routes of the built-in pages: start page, gallery, the page of each share, their assets, the sitemap."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import cast

from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gateway.clients import batched_reads, stubs
from gateway.clients.batched_reads import ShareReads
from gateway.pages import assets, sitemap, studio, views
from gateway.pages.views import render
from gateway.rest import errors, request_fields
from gateway.rest.responses import Endpoint
from services.chassis.errors import DeadlineExceeded, KawaiiError, NotFound, Unavailable, invalid_field
from services.chassis.names import ID, name
from services.chassis.status import translated

ROBOTS = """User-agent: *
Allow: {sitemap}
Disallow: /api/

Sitemap: {origin}{sitemap}
"""
XML = sitemap.MEDIA_TYPE
MAX_PAGE = 50_000  # what an index may hold
SITEMAP_CACHE = {"Cache-Control": "public, max-age=3600", "Vary": "Accept-Encoding"}  # crawlers come once a day

PAGE_SIZE = 24  # fills whole rows of 2, 3, 4 and 6 tiles
LATEST_SECONDS = 2.0  # the start page can do without its list, so it does not wait long


async def start(request: Request) -> Response:
    """The start page: make a picture, see the latest."""
    found = await _latest(stubs.of(request).share)
    latest = None if found is None else views.cards(found)
    files = request.app.state.settings.files_base_url
    return render("start.html", origin=_origin_of(request), files=files, studio=studio, latest=latest)


def _share_in(language: str) -> Endpoint:
    """The page of one share in a language; in the default one when it is empty."""

    async def share(request: Request) -> Response:
        return await _shown(request, request.path_params["id"], language)

    return share


async def shares(request: Request) -> Response:
    """The gallery, from ?cursor= on; with ?id= the page of one share, as older links have it."""
    if identifier := request.query_params.get("id"):
        return await _shown(request, identifier)
    page = await _gallery_page(stubs.of(request).share, request.query_params.get("cursor", ""))
    return render(
        "gallery.html", origin=_origin_of(request), cards=views.cards(page.shares), cursor=page.next_page_token
    )


async def _shown(request: Request, identifier: str, language: str = "") -> Response:
    """A share, looked up and rendered."""
    found = await _find_share(batched_reads.of(request), identifier)
    return render("share.html", origin=_origin_of(request), share=views.share_page(found, language))


async def asset(request: Request) -> Response:
    """A style sheet, script or icon."""
    return assets.find(request.path_params["file"]).answer(request)


async def favicon(request: Request) -> Response:
    """The icon under the name that browsers request by themselves."""
    return assets.find("icon.svg").answer(request)


async def robots(request: Request) -> Response:
    """What crawlers may read: pages and pictures, not the API; and where the list of the pages is."""
    return PlainTextResponse(ROBOTS.format(sitemap=sitemap.PATH, origin=_origin_of(request)))


async def sitemap_share(request: Request) -> Response:
    """GET /api/sitemap-share: the pages of all listed shares, by ?page= once there are too many.

    See docs/rest.md#sitemap.
    """
    page = request_fields.query_integer(request, "page", 0)
    if not 0 <= page <= MAX_PAGE:
        raise invalid_field("page", "page must be the number of a page of the sitemap.")
    if not page and (count := await sitemap.block_count(stubs.of(request).share)) > 1:
        return Response(sitemap.index(_origin_of(request), count), headers=SITEMAP_CACHE, media_type=XML)
    file = await sitemap.of(request).get(max(0, page - 1))
    if page > max(1, file.count):
        raise NotFound("The sitemap has no such page.")
    if sitemap.takes_gzip(request):
        return Response(file.body, headers=SITEMAP_CACHE | {"Content-Encoding": "gzip"}, media_type=XML)
    return StreamingResponse(sitemap.plain(file.body), headers=SITEMAP_CACHE, media_type=XML)


async def _in_words(_request: Request, failure: Exception) -> Response:
    """A failure as a page, where the API answers JSON."""
    error = cast("KawaiiError", failure)
    status = errors.status_of(error)
    ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    response = render("resting.html" if ours else "missing.html", status)
    response.headers.update(errors.headers_of(error, status))
    return response


def _origin_of(request: Request) -> str:
    """The public origin of the site, without a trailing slash."""
    return str(request.app.state.settings.origin)


IN_WORDS = [Middleware(ExceptionMiddleware, handlers={KawaiiError: _in_words})]


async def _find_share(shares: ShareReads, share_id: str) -> sharepb.Share:
    """One share.

    Raises:
        NotFound: no share has this id, also when it is none that we could have made.
    """
    if not ID.fullmatch(share_id):
        raise NotFound("There is no such share.")
    with translated():
        return await shares.find(name("shares", share_id))


async def _gallery_page(shares: "sharerpc.ShareServiceAsyncStub", cursor: str) -> sharepb.ListSharesResponse:
    """A page of the gallery, from a cursor on; the first one when it is empty."""
    with translated():
        return await shares.ListShares(sharepb.ListSharesRequest(page_size=PAGE_SIZE, page_token=cursor))


async def _latest(shares: "sharerpc.ShareServiceAsyncStub") -> Sequence[sharepb.Share] | None:
    """The newest shares; None while the share service is away, because pictures can be made without it."""
    try:
        with translated():
            answer = await shares.ListLatestShares(sharepb.ListLatestSharesRequest(), timeout=LATEST_SECONDS)
    except (Unavailable, DeadlineExceeded):
        return None
    return answer.shares


ROUTES: list[BaseRoute] = [
    Route("/", start, middleware=IN_WORDS),
    Route("/share", shares, middleware=IN_WORDS),
    Route("/share/{id}", _share_in(""), middleware=IN_WORDS),
    *(Route(f"/{each}/share/{{id}}", _share_in(each), middleware=IN_WORDS) for each in views.LOCALES),
    Route(sitemap.PATH, sitemap_share),
    Route("/assets/{file}", asset),
    Route("/favicon.ico", favicon),
    Route("/robots.txt", robots),
]
