"""The same stack on PostgreSQL: migrated as its own step, then the same way for a picture, a kill included."""

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.stack import ROOT, Stack, assert_transactions_were_short_on_event_loops, running
from tests.support.postgres import Postgres

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack_on_postgres(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder, url = tmp_path_factory.mktemp("postgres-stack"), postgres_server.create_database()
    environment = os.environ | {"DATABASE_URL": url, "DATA_DIR": str(folder / "data")}
    subprocess.run([sys.executable, "-m", "deploy.cli.main", "migrate"], cwd=ROOT, env=environment, check=True)
    with running(folder / "data", DATABASE_URL=url, SANDBOX_GENERATION_SECONDS="1") as stack:
        yield stack
        assert_transactions_were_short_on_event_loops(stack)


def test_a_picture_is_made_kept_and_shared_on_postgresql(stack_on_postgres: Stack) -> None:
    stack = stack_on_postgres
    prompt = "an elephant that never forgets"
    task = stack.order(prompt)
    victim = stack.process("services.generation")
    victim.kill()
    victim.wait(10)
    url = stack.picture(task)
    share = stack.post("/api/share", {"generatedUrl": url, "prompt": prompt}).raise_for_status().json()

    assert httpx.get(url).status_code == httpx.codes.OK
    assert len(stack.bills(prompt)) == 1
    assert stack.http.get("/api/share/latest").json()["data"]["items"][0]["id"] == share["shareId"]
    assert not list(stack.data.glob("*.sqlite3"))
