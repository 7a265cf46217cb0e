"""An audit says what it found, and never takes silence for a good word."""

import json
import sys
from pathlib import Path

import pytest

from deploy.audit import UNKNOWN, VULNERABLE, main

GOOD = {"name": "jinja2", "version": "3.1.7", "vulns": []}
BAD = {"name": "urllib3", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
UNSEEN = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)"}


def stand_in(folder: Path, code: str) -> tuple[str, ...]:
    """A program in the place of pip-audit."""
    program = folder / "audit.py"
    program.write_text(code, encoding="utf-8")
    return (sys.executable, str(program))


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        ([GOOD], 0, "1 packages, no advisory"),
        ([GOOD, BAD], VULNERABLE, "VULNERABLE: a.lock: urllib3 1.0: PYSEC-1 (mended in 1.1)"),
        ([GOOD, UNSEEN], UNKNOWN, "NOT AUDITED: a.lock: nothing is known about 1 of 2 packages: six"),
        ([BAD, UNSEEN], VULNERABLE, "NOT AUDITED"),
    ],
)
def test_an_audit_says_what_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], found: list[object], code: int, words: str
) -> None:
    answer = json.dumps({"dependencies": found, "fixes": []})

    assert main(["a.lock"], stand_in(tmp_path, f"print({answer!r})")) == code
    assert words in capsys.readouterr().out


def test_a_service_that_cannot_be_asked_is_no_good_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = stand_in(tmp_path, "import sys; sys.exit('ERROR: could not connect')")

    assert main(["a.lock", "b.lock"], program) == UNKNOWN
    said = capsys.readouterr().out
    assert "NOT AUDITED: a.lock: the advisory service could not be asked: ERROR: could not connect" in said
    assert "NOT AUDITED: b.lock" in said
