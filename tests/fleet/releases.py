"""Two releases in one fleet: a pinned baseline beside the present code, and a schema that expands between them."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.chassis.migrations.revisions import write
from tests.e2e.stack import ROOT
from tests.fleet.fleet import KINDS, Fleet, Member

# The first release whose processes have the version window, `kawaii serve`, mutual TLS and draining: what came before
# cannot be replaced without a failed request.
BASELINE = "c639f8d964630aa3f69f4780db458cddb99dc2eb"
LOCKS = ("requirements.lock",)
EXPANDING = 'op.add_column("outbox", sa.Column("note_of_the_fleet", sa.Text))'
MIGRATE = """
import sys
from pathlib import Path
from services.chassis.migrations import migrate
from services.chassis.settings import CommonSettings
migrate("generation", CommonSettings(), additional=Path(sys.argv[1]))
"""


class NoBaselineError(Exception):
    """The baseline cannot be run here; the text says why."""


def baseline(folder: Path) -> Path:
    """The baseline's code, out of this clone's history. Raises NoBaselineError."""
    archive = subprocess.run(["git", "archive", BASELINE], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise NoBaselineError("this clone has no history to take the baseline from: git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    if changed := [name for name in LOCKS if (folder / name).read_text() != (ROOT / name).read_text()]:
        raise NoBaselineError(f"the baseline needs other packages than are installed: {', '.join(changed)}")
    return folder


def install(member: Member, code: Path) -> None:
    """Let a member run this code from its next start on."""
    member.code = code
    member.settings["PYTHONPATH"] = f"{code}:{code / 'protos' / 'gen'}"


def replace(fleet: Fleet, code: Path, *, back: bool = False) -> None:
    """Give every member another release, one after the other: callees first, or callers first on the way back.

    The order is that of docs/upgrades.md.
    """
    for kind in reversed(KINDS) if back else KINDS:
        for member in fleet.of(kind):
            install(member, code)
            member.restart()


def expand(fleet: Fleet, folder: Path) -> None:
    """Expand the schema of generation by the present code, beside whatever runs."""
    revisions = write(folder, "generation", EXPANDING)
    environment = fleet.of("generation")[0].settings | {"DATA_DIR": str(folder / "data"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MIGRATE, str(revisions)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
