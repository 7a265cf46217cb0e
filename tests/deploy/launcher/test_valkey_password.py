"""The embedded Valkey is closed to whoever does not know its password, and the password shows nowhere."""

import asyncio
import stat
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError

from deploy.launcher import plan
from deploy.launcher.configuration import settle
from deploy.launcher.preflight import prepare
from deploy.launcher.valkey_password import FILE, password


def test_the_password_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = password(tmp_path / "data")

    assert len(first) >= 40
    assert password(tmp_path / "data") == first
    assert password(tmp_path / "other") != first
    assert stat.S_IMODE((tmp_path / "data" / FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE]


async def test_those_who_make_it_at_the_same_time_get_the_same_one(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from deploy.launcher.valkey_password import password;"
        " print(password(pathlib.Path(sys.argv[1])))"
    )
    command = (sys.executable, "-c", program, str(tmp_path / "data"))
    made = await asyncio.gather(
        *(asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(4))
    )

    assert len({(await process.communicate())[0] for process in made}) == 1


async def test_valkey_asks_for_the_password_and_its_arguments_do_not_show_it(
    monkeypatch: pytest.MonkeyPatch, base: int, tmp_path: Path
) -> None:
    monkeypatch.setenv("INTERNAL_PORT_BASE", str(base))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    made = plan.make(settle())
    prepare(made)
    valkey = next(process for process in made.processes if process.name == "valkey")
    gateway = next(process for process in made.processes if process.name == "gateway")
    running = await asyncio.create_subprocess_exec(*valkey.command, cwd=valkey.folder, env=made.environment)
    try:
        retry = Retry(ConstantBackoff(0.05), 400)  # for as long as it starts, on a busy machine
        async with Redis.from_url(gateway.secrets["REDIS_URL"], retry=retry) as known:
            assert await known.ping()
        async with Redis(port=base + 7) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
    finally:
        running.kill()
        await running.wait()
    secret = password(tmp_path / "data")

    assert secret in gateway.secrets["REDIS_URL"]
    assert secret not in str([process.command for process in made.processes])
    assert secret not in str(made.environment)
    assert secret not in (Path(valkey.folder) / "valkey.log").read_text(encoding="utf-8")
    assert stat.S_IMODE((Path(valkey.folder) / "secret.conf").stat().st_mode) == 0o600
