"""The failpoints in the code are exactly the documented ones, each in the process that the list says."""

import re
from collections import defaultdict
from pathlib import Path

from tests.chaos.failpoints import COMMUNITY_FAILPOINTS, FAILPOINTS

ROOT = Path(__file__).parents[2]
REACHED = re.compile(r'reach(?:_in_thread)?\(\s*"([^"]+)"')


def service_of(path: Path) -> str:
    """The process that a module belongs to."""
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "services" else parts[0]


def test_the_code_has_the_documented_failpoints_and_no_others() -> None:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in [*(ROOT / "services").rglob("*.py"), *(ROOT / "gateway").rglob("*.py")]:
        for point in REACHED.findall(path.read_text()):
            found[service_of(path)].add(point)

    documented = {
        service: {*FAILPOINTS.get(service, ()), *COMMUNITY_FAILPOINTS.get(service, ())}
        for service in {*FAILPOINTS, *COMMUNITY_FAILPOINTS}
    }
    assert found == documented


def test_there_are_more_than_twenty_failpoints() -> None:
    assert sum(len(points) for points in FAILPOINTS.values()) >= 20
