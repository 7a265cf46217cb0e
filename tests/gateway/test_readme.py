"""The README's table of routes is whole, and names modules and tests that exist."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DESCRIPTION = json.loads((ROOT / "gateway/routes/image_site/openapi.json").read_text(encoding="utf-8"))


def test_every_route_of_the_image_site_stands_in_the_readme() -> None:
    shown = {path.removesuffix("/{token}") for path in DESCRIPTION["paths"]}

    assert [path for path in sorted(shown) if f"{path}`" not in README] == []


def test_every_test_that_the_readme_names_exists() -> None:
    named = re.findall(r"`(test_\w+\.py)`", README)

    assert named
    assert [name for name in named if not (ROOT / "tests/e2e/contract" / name).is_file()] == []


def test_every_module_that_the_readme_names_exists() -> None:
    rows = re.findall(r"^\| `(?:GET|POST).*?\| (.*?) \| .*\|$", README, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row)]

    assert named
    assert [name for name in named if not (ROOT / "gateway/routes" / name).is_file()] == []
