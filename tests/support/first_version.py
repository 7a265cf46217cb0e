"""The first version of this project: its files, out of the history of the repository, and how they are run."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMIT = "2dfb4dec3479877c49c7bffe96727310869709bb"
CLI = "deploy.cli"  # its `kawaii`, as a module


class NoHistoryError(Exception):
    """This checkout has no history that reaches back so far."""


def unpack(folder: Path, commit: str = COMMIT) -> None:
    """Write the files of a commit into a folder. Raises NoHistoryError."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise NoHistoryError(f"this checkout has no history that reaches back to {commit}")
    folder.mkdir(exist_ok=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)


def environment(folder: Path) -> dict[str, str]:
    """What makes our Python, whose packages are the same, run the code in a folder."""
    return {"PYTHONPATH": f"{folder}:{folder / 'protos' / 'gen'}"}
