"""What the first version stored is served by this one: a data folder, and databases on PostgreSQL."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.launcher.processes import DATABASES
from tests.e2e.community.callers import SECRET, caller
from tests.e2e.stack import ROOT, Stack, running
from tests.support import first_version
from tests.support.postgres import Postgres

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]  # two stacks one after the other on a busy machine
SETTINGS = {"AUTH_HS256_SECRET": SECRET, "SANDBOX_GENERATION_SECONDS": "0.5", "SANDBOX_IMAGE_SIDE": "64"}
PROMPT = "a heron that was here before"
AUTHOR, FAN = "user_mei", "user_ren"


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first version's files, out of the history of this repository."""
    folder = tmp_path_factory.mktemp("first-version")
    try:
        first_version.unpack(folder)
    except first_version.NoHistoryError as missing:
        pytest.skip(str(missing))
    return folder


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """How both versions are configured."""
    if request.param == "SQLite":
        return SETTINGS
    server: Postgres = request.getfixturevalue("postgres_server")
    return SETTINGS | {"DATABASE_URL": server.create_database()}


@dataclass(frozen=True)
class Site:
    """What people have made: a generation, its share, and an artwork that somebody likes."""

    task: str
    share: str
    artwork: str


def test_what_the_first_version_stored_is_served_and_can_be_changed(
    old_code: Path, settings: dict[str, str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    old = first_version.environment(old_code)
    migrate(old_code, first_version.CLI, data, settings | old)
    with running(data, code=old_code, cli=first_version.CLI, **settings, **old) as stack:
        site = made(stack)
        before = shown(stack, site)

    migrate(ROOT, "deploy.cli.main", data, settings)
    with running(data, **settings) as stack:
        after = shown(stack, site)
        with caller(stack, FAN) as fan:
            fan.ok("DELETE", f"/api/artworks/{site.artwork}/like")
        new = stack.picture(stack.order("a heron that came later"))
        picture = stack.http.get(urlsplit(new).path)
    copied = {path.name.partition("-")[0] for path in data.glob("backups/*.sqlite3")}

    assert before["likes"] == 1
    assert after == before
    assert picture.is_success
    assert copied == (set() if "DATABASE_URL" in settings else set(DATABASES))


def migrate(code: Path, cli: str, data: Path, settings: dict[str, str]) -> None:
    """Bring PostgreSQL to a version's schema; a data folder is brought there when its stack starts."""
    if "DATABASE_URL" in settings:
        environment = os.environ | settings | {"DATA_DIR": str(data)}
        subprocess.run([sys.executable, "-m", cli, "migrate"], cwd=code, env=environment, check=True)


def made(stack: Stack) -> Site:
    """Use a stack as people do."""
    task = stack.order(PROMPT)
    share = stack.post("/api/share", {"generatedUrl": stack.picture(task), "prompt": PROMPT, "style": "ink"})
    with caller(stack, AUTHOR) as author:
        artwork = author.published(PROMPT)
    with caller(stack, FAN) as fan:
        fan.ok("POST", f"/api/artworks/{artwork}/like")
    return Site(task, share.raise_for_status().json()["shareId"], artwork)


def shown(stack: Stack, site: Site) -> dict[str, Any]:
    """What people read of it; addresses without the host and port, which differ between two stacks."""
    record = stack.record(site.task)
    picture = urlsplit(record["response"]["resultUrls"][0]).path
    share = stack.http.get(f"/api/share/{site.share}").raise_for_status().json()["data"]
    with caller(stack, AUTHOR) as author:
        artwork = author.ok("GET", f"/api/artworks/{site.artwork}")
    return {
        "status": record["status"],
        "picture": picture,
        "bytes": stack.http.get(picture).raise_for_status().content,
        "share": {name: share[name] for name in ("id", "prompt", "style", "createdAt") if name in share},
        "artwork": artwork["title"],
        "likes": artwork["like_count"],
    }
