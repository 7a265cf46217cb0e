"""One process on a SQLite file, any number on PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.chassis import replicas
from services.chassis.replicas import sole_on_sqlite
from services.chassis.settings import CommonSettings


async def test_a_second_process_on_a_sqlite_file_is_refused_until_the_first_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "LOCK_SECONDS", 0.0)
    settings = CommonSettings(data_dir=tmp_path / "data", _env_file=None)
    async with sole_on_sqlite(settings, "generation"):
        async with sole_on_sqlite(settings, "share"):
            pass
        with pytest.raises(SystemExit) as refused:
            async with sole_on_sqlite(settings, "generation"):
                pass
    async with sole_on_sqlite(settings, "generation"):
        pass

    assert refused.value.code == 78
    error = capsys.readouterr().err
    assert "DATABASE_URL" in error
    assert "another generation process" in error


async def test_any_number_may_share_a_postgresql(tmp_path: Path) -> None:
    settings = CommonSettings(data_dir=tmp_path / "none", database_url="postgresql://host/name", _env_file=None)
    with capture_logs() as lines:
        async with sole_on_sqlite(settings, "generation"), sole_on_sqlite(settings, "generation"):
            pass

    assert [line["most"] for line in lines] == ["any number"] * 2
    assert not settings.data_dir.exists()


def test_several_addresses_of_a_service_need_postgresql(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = {"data_dir": tmp_path / "data", "generation_target": "10.0.0.1:1,10.0.0.2:1"}

    async def start(service: str, **given: Any) -> None:
        async with sole_on_sqlite(CommonSettings(**two, **given, _env_file=None), service):
            pass

    with pytest.raises(SystemExit) as refused:
        asyncio.run(start("generation"))
    assert refused.value.code == 78
    assert "GENERATION_TARGET names 2 replicas" in capsys.readouterr().err
    asyncio.run(start("share"))
    asyncio.run(start("generation", database_url="postgresql://host/name"))
