"""Runs pytest in forks of a process that has the libraries in memory already: a start costs a tenth of another.

Orders come as JSON lines on standard input: pytest's arguments, what to add to the environment, and the file for the
output. Each is answered by the fork's process id and then by its exit code. Modules of services and gateway are
imported by the forks, never here, so that each fork has the module as it is at that moment.
"""

import gc
import importlib
import json
import os
import sys
import tempfile
from contextlib import suppress
from typing import Any

import pytest


def main() -> None:
    """Serve orders until standard input ends; the arguments name the libraries."""
    for name in sys.argv[1:]:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here already would be looked through again and again, and copied
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _run(json.loads(line))
        _answer(answers, pid)
        _answer(answers, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _answer(answers: Any, number: int) -> None:
    answers.write(f"{number}\n")
    answers.flush()


def _run(order: dict[str, Any]) -> None:
    """Be pytest, in a session of its own so that all it starts can be ended; never returns."""
    code: int = pytest.ExitCode.INTERNAL_ERROR
    try:
        os.setsid()
        os.environ.update(order["environment"])
        tempfile.tempdir = None  # looked up before, from the environment of then
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, target in enumerate((nothing, output, output)):
            os.dup2(target, number)
        code = pytest.main(order["arguments"])
    finally:
        sys.stdout.flush()
        os._exit(code)  # neither the loop above nor what the libraries do at exit is this fork's


if __name__ == "__main__":
    main()
