"""Fixtures: the sandbox process, a receiver of its callbacks, an account, and a sandbox without HTTP."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from services.sandbox.store import open_store
from tests.sandbox.support import QUICK, Customer, InProcess, Process, Receiver, handler_for
from tests.support.ports import free_base


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(receiver))
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("data"), free_base(), QUICK)
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A callback path of this test's own."""
    return f"/callback/{abs(hash(request.node.nodeid))}"


@pytest.fixture
def customer(process: Process, receiver: Receiver, path: str) -> Iterator[Customer]:
    """An account of this test's own."""
    key = f"sandbox-t{path.rpartition('/')[2]}"
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=process.url, headers=headers, trust_env=False, timeout=20) as http:
        yield Customer(http, f"{receiver.url}{path}")


@pytest.fixture
def restored(customer: Customer) -> Iterator[None]:
    """Restores the switches and scripts of the process that all tests share."""
    yield
    native = {"http_mode": "body", "casing": "camel", "times": "native", "resultJson": "text", "files": "up"}
    customer.post("/sandbox/switches", native)
    customer.http.delete("/sandbox/script")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[InProcess]:
    with open_store(tmp_path) as store:
        yield InProcess(store, tmp_path / "files")
