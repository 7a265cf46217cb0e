"""The same town on PostgreSQL: migrated as its own step, then the same way for a picture, a kill included."""

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.town import ROOT, Town, running
from tests.engines import EngineMissingError, postgres

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def town_on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("postgres-town")
    try:
        with postgres() as server:
            url = server.create_database()
            environment = os.environ | {"DATABASE_URL": url, "DATA_DIR": str(folder / "data")}
            subprocess.run([sys.executable, "-m", "deploy.cli", "migrate"], cwd=ROOT, env=environment, check=True)
            with running(folder / "data", DATABASE_URL=url, SANDBOX_GENERATION_SECONDS="1") as town:
                yield town
    except EngineMissingError as missing:
        pytest.skip(str(missing))


def test_a_picture_is_made_kept_and_shared_on_postgresql(town_on_postgres: Town) -> None:
    town = town_on_postgres
    prompt = "an elephant that never forgets"
    task = town.order(prompt)
    victim = town.process("services.generation")
    victim.kill()
    victim.wait(10)
    url = town.picture(task)
    share = town.post("/api/share", {"generatedUrl": url, "prompt": prompt}).raise_for_status().json()

    assert httpx.get(url).status_code == httpx.codes.OK
    assert len(town.bills(prompt)) == 1
    assert town.http.get("/api/share/latest").json()["data"]["items"][0]["id"] == share["shareId"]
    assert not list(town.data.glob("*.sqlite3"))
