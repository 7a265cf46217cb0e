"""How long a stack with everything installed takes to be ready, and what it keeps resident while idle.

Resident memory is told twice: the sum of RSS, which counts a page that n processes share n times, and the sum of PSS,
which counts it once and is what the machine really holds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.stack import ROOT, Stack, running

ROUNDS = 5
RUNTIME = ROOT / ".build" / "runtime"
IDLE_SECONDS = 5
MEBIBYTE = 1024 * 1024


def main() -> None:
    """Start stacks one after the other, the first on an empty folder, and print both tables."""
    starts, python = [], runtime()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            begun = time.perf_counter()
            with running(Path(folder) / "data", python) as stack:
                starts.append(time.perf_counter() - begun)
                if number == ROUNDS - 1:
                    time.sleep(IDLE_SECONDS)
                    print_memory(stack)
    again = starts[1:]
    print(f"\nready on an empty folder   {starts[0]:5.2f} s (with migrations)")
    print(f"ready again, {len(again)} starts     {statistics.median(again):5.2f} s (median; worst {max(again):.2f} s)")


def runtime() -> str:
    """The Python of an environment as `make up` makes it: development tools bring libraries that ours would load."""
    python = RUNTIME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", RUNTIME], check=True)
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", ROOT / "requirements.lock"], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", ROOT], check=True)
        compile_ = [python, "-OO", "-m", "compileall", "-qq", "-j", "0", RUNTIME / "lib"]
        subprocess.run(compile_, check=False, env=os.environ | {"PYTHONNODEBUGRANGES": "1"})
    return str(python)


def print_memory(stack: Stack) -> None:
    """One row a process."""
    rows = []
    for process in [stack.launcher, *stack.launcher.children(recursive=True)]:
        memory = process.memory_full_info()
        rows.append((label(process), memory.rss / MEBIBYTE, memory.pss / MEBIBYTE))
    print(f"{'process':24}{'RSS MiB':>10}{'PSS MiB':>10}")
    for name, rss, pss in sorted(rows):
        print(f"{name:24}{rss:10.1f}{pss:10.1f}")
    print(f"{'the whole stack':24}{sum(row[1] for row in rows):10.1f}{sum(row[2] for row in rows):10.1f}")


def label(process: psutil.Process) -> str:
    """The module, or the program, of a process."""
    line = process.cmdline()
    return line[line.index("-m") + 1] if "-m" in line else Path(line[0]).name


if __name__ == "__main__":
    main()
