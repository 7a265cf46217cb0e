"""Revisions of a test, which come after those of a service."""

from pathlib import Path
from textwrap import dedent, indent

from services.chassis.migrations import head_of


def later(service: str, by: int = 1) -> str:
    """The number of the revision that comes so many after a service's newest."""
    return f"{int(head_of(service)) + by:04}"


def write(path: Path, service: str, *bodies: str, **declared: str) -> Path:
    """Write one revision for each body of `upgrade`, the last of them with these declarations; returns the folder."""
    path.mkdir(exist_ok=True)
    for number, body in enumerate(bodies, 1):
        revision, before = later(service, number), later(service, number - 1)
        lines = [f'"""Revision {number} of a test."""', "import sqlalchemy as sa", "from alembic import op"]
        lines += [f'revision = "{revision}"', f'down_revision = "{before}"']
        lines += [f'{name} = "{value}"' for name, value in declared.items() if number == len(bodies)]
        lines += ["def upgrade() -> None:", indent(dedent(body).strip(), "    ")]
        (path / f"{revision}_test.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
