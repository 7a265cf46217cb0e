"""The headers that layers write are asked of them once for each origin, and the origins are bounded."""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.middleware.headers import Cors, SecurityHeaders
from gateway.response_cache.fast_path import MAX_ORIGINS, LayerHeaders


class Counted:
    """A layer that counts how often it is asked."""

    asked = 0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Counted.asked += 1
        await self._app(scope, receive, send)


async def test_it_holds_what_the_layers_write_for_an_origin() -> None:
    layers = [Middleware(SecurityHeaders, "http://a.test"), Middleware(Cors, ["https://b.test"])]
    layer_headers = LayerHeaders(layers, "application/json", {"X-Robots-Tag": "index"})

    listed, stranger = dict(await layer_headers.of(b"https://b.test")), dict(await layer_headers.of(b"https://c.test"))

    assert listed[b"access-control-allow-origin"] == b"https://b.test"
    assert b"access-control-allow-origin" not in stranger
    for headers in (listed, stranger):
        assert headers[b"content-type"] == b"application/json"
        assert headers[b"x-robots-tag"] == b"index"
        assert headers[b"x-frame-options"] == b"SAMEORIGIN"
        assert b"content-length" not in headers


async def test_it_asks_once_for_each_origin_and_remembers_so_many() -> None:
    layer_headers, before = LayerHeaders([Middleware(Counted)], "application/json", {}), Counted.asked
    for _ in range(3):
        await layer_headers.of(b"https://a.test")
    assert Counted.asked == before + 1

    for number in range(2 * MAX_ORIGINS):
        await layer_headers.of(b"https://%d.test" % number)

    assert len(layer_headers._known) <= MAX_ORIGINS
