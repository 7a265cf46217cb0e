"""What a stranger's request may cost: docs/security.md names every route that needs no sign-in, with its bounds."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb
from starlette.routing import Route

from catalogue import CALLBACK_KINDS
from gateway.app import ROUTES, make_app
from gateway.clients.stubs import Clients
from gateway.rest.responses import Methods
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, ORIGIN

TABLE = Path(__file__).parents[2] / "docs" / "security.md"
LINE = re.compile(r"\| `([A-Z]+) (/[^`]*)` \| ([0-9]+) \|([^|]*)\|([^|]*)\|([^|]*)\|")
SIZE = re.compile(r"([0-9]+) (KiB|MiB)")
UNITS = {"KiB": 1024, "MiB": 1024**2}
KEY, TASK = "generated/0a.png", "gen_1"
NEEDS_SIGN_IN, NOT_OFFERED, WRONG = 401, 404, 400
PLACES = {"id": TASK, "token": "t", "window": "7d", "file": "icon.svg"}
PASTED = "data:image/png;base64,iVBORw0KGgo="
LARGE = "x" * 10_000  # a prompt as long as may be
BODIES: dict[str, dict[str, Any]] = {
    "/api/generate-image": {"prompt": "a cat", "fileUrl": PASTED},
    "/api/flux-kontext/generate": {"prompt": "a cat", "inputImage": PASTED},
    "/api/nano-banana/generate": {"prompt": "a cat", "model": "google/nano-banana-edit", "imageUrls": [PASTED] * 10},
    "/api/download-url": {"url": "https://elsewhere.example/a.png", "taskId": TASK},
    "/api/download-and-upload": {"url": "https://elsewhere.example/a.png", "taskId": TASK},
    "/api/share": {"generatedUrl": f"{FILES}/{KEY}", "prompt": LARGE},
    "/api/share/{id}": {"token": "t", "action": "publish"},
    "/api/artworks/batch/state": {"artworkIds": [f"art_{number}" for number in range(200)]},
    "/api/artworks/batch/hot-data": {"artworkIds": [f"art_{number}" for number in range(200)]},
    "/api/auth/login": {"token": "a.b.c"},
    "/api/artworks/{id}/report": {"reason": "rude"},
}
QUERIES = {"/api/img": {"u": KEY, "w": "64"}, "/api/get-generated-url": {"taskId": "f" * 32}}


@dataclasses.dataclass(frozen=True)
class Cost:
    """A line of the table."""

    method: str
    path: str
    calls: int
    reads: str
    answers: str
    bound: str

    @property
    def answer_bytes(self) -> int:
        """The most that is answered, where the line gives a number."""
        found = SIZE.search(self.answers)
        return int(found[1]) * UNITS[found[2]] if found else 0


COSTS = [
    Cost(method, path.replace("{kind}", kind), int(calls), *rest)
    for method, path, calls, *rest in LINE.findall(TABLE.read_text(encoding="utf-8"))
    for kind in (CALLBACK_KINDS.values() if "{kind}" in path else [""])
]


def routed() -> Iterator[tuple[str, str]]:
    """Every method and path of the application; a HEAD is answered like its GET."""
    for each in ROUTES:
        assert isinstance(each, Route)
        methods = each.app.names if isinstance(each.app, Methods) else each.methods or set()
        yield from ((method, each.path) for method in methods if method != "HEAD")


class Counted:
    """A stub, or a mapping of stubs, whose calls are counted."""

    def __init__(self, target: Any, count: Callable[[str], None]) -> None:
        self._target, self._count = target, count

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        def call(*args: Any, **more: Any) -> Any:
            self._count(name)
            return method(*args, **more)

        return call

    def __getitem__(self, name: str) -> "Counted":
        return Counted(self._target[name], self._count)


@pytest.fixture
def calls() -> list[str]:
    """The calls that the gateway has made."""
    return []


@pytest.fixture
def stranger(doubles: Doubles, calls: list[str]) -> httpx.AsyncClient:
    """A client without any identity, of a gateway whose calls are counted."""
    fields = {
        field.name: Counted(getattr(doubles.clients, field.name), calls.append) for field in dataclasses.fields(Clients)
    }
    settings = GatewaySettings(app_url=ORIGIN, rate_limits_enabled=False, debug_env_enabled=True)
    app = make_app(settings, cast("Clients", Clients(**fields)))  # type: ignore[arg-type] # they are called alike
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN)


@pytest.fixture(autouse=True)
def full(doubles: Doubles) -> None:
    """Rows that cost what they can."""
    output = generationpb.Generation.Output(index=0, object=f"objects/{KEY}", uri=f"{FILES}/{KEY}")
    state = generationpb.Generation.STATE_SUCCEEDED
    doubles.generation.rows[TASK] = generationpb.Generation(
        name=f"generations/{TASK}", model="gpt4o-image", prompt=LARGE, outputs=[output] * 4, state=state
    )
    doubles.storage.add(KEY, size_bytes=9, sha256="a" * 64, generation_id=TASK)
    doubles.storage.kept[KEY] = b"a picture"
    for number in range(100):
        doubles.share.add(f"share_{number}" if number else TASK, prompt=LARGE, generated_uri=f"{FILES}/{KEY}")


async def asked(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """Ask a route in full measure."""
    filled = re.sub(r"{([a-z]+)(?::[a-z]+)?}", lambda found: PLACES[found[1]], path)
    query = QUERIES.get(path, {"taskId": TASK, "id": TASK, "limit": "100"} if path != "/share" else {})
    if path == "/api/upload-image":
        return await client.post(filled, files={"file": ("a.png", b"\x89PNG\r\n\x1a\n", "image/png")})
    body, headers = BODIES.get(path) if method != "GET" else None, {"Prefer": "wait=1"}
    return await client.request(method, filled, params=query, json=body, headers=headers)


def test_the_table_names_only_what_there_is_and_each_once() -> None:
    named = [(cost.method, cost.path) for cost in COSTS]

    assert sorted(set(named)) == sorted(named)
    assert set(named) <= set(routed())
    assert all(cost.answers.strip() for cost in COSTS)
    assert all(cost.reads.strip() for cost in COSTS if cost.method in ("POST", "PUT"))


@pytest.mark.parametrize(("method", "path"), sorted(set(routed()) - {(cost.method, cost.path) for cost in COSTS}))
async def test_whatever_the_table_does_not_name_is_refused_to_strangers_without_a_call(
    stranger: httpx.AsyncClient, calls: list[str], method: str, path: str
) -> None:
    """A new route that answers without sign-in belongs into the table."""
    answer = await asked(stranger, method, path)

    assert answer.status_code in (NEEDS_SIGN_IN, NOT_OFFERED), "add the route to the table of docs/security.md"
    assert calls == []


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: f"{cost.method} {cost.path}")
async def test_a_strangers_request_costs_at_most_what_the_table_says(
    stranger: httpx.AsyncClient, calls: list[str], cost: Cost
) -> None:
    answer = await asked(stranger, cost.method, cost.path)

    assert answer.status_code != NEEDS_SIGN_IN
    assert answer.status_code != WRONG, answer.text  # else the count would say little
    assert len(calls) <= cost.calls, calls
    if cost.answer_bytes:
        assert len(answer.content) <= cost.answer_bytes
