"""Nothing survives a kill -9 of the launcher."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.polling import until

PARENT = """
import asyncio, os, pathlib, sys
from deploy.launcher.model import Process
from deploy.launcher.supervisor import Child

CHILD = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
asyncio.run(Child(Process("share", (sys.executable, "-c", CHILD)), dict(os.environ), text=False).run())
"""


def pid() -> int:
    file = Path("pid")
    return int(file.read_text(encoding="utf-8") or 0) if file.exists() else 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process that its parent died")
def test_a_child_dies_with_a_killed_launcher(alive: Callable[[int], bool]) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT]) as parent:
        until(pid)
        parent.send_signal(signal.SIGKILL)

    until(lambda: not alive(pid()))
