"""Every document that code, tests and documents name exists, with the heading that is named; links lead somewhere."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOTS = (".ci", "bench", "catalogue", "deploy", "docs", "gateway", "protos/kawaii", "services", "tests")
SUFFIXES = {".css", ".html", ".j2", ".js", ".json", ".md", ".proto", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
BESIDE = ("Makefile", ".env.example", ".ci/run", ".gitattributes", ".pre-commit-config.yaml")
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s)>\"'`]+", re.IGNORECASE)
MENTION = re.compile(r"(?<![\w/.~-])(?P<path>[\w./-]*[\w-]\.md)\b(?:#(?P<anchor>[\w-]+)|  (?P<words>[^\n]+))?")
LINK = re.compile(r"\]\((?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
HEADING = re.compile(r"^#{1,6} +(?P<title>.+?) *#*$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# Sections of documents that were never in the repository.
ABSENT = re.compile(
    r"\b(?:DESIGN|contract|reliability|conventions|components|performance|kie)(?:\.md)? ?(?:[ABW]-?)?\d"
    r"|\bS[0-4] section"
)
OWN = Path(__file__).name  # its own examples lead nowhere


def test_every_reference_leads_to_a_document_and_a_heading_that_exist() -> None:
    assert [problem for path in texts(ROOT) if path.name != OWN for problem in problems(ROOT, path)] == []


def test_references_are_found_at_all() -> None:
    named = {mention["path"] for path in texts(ROOT) for mention in MENTION.finditer(prose(path))}

    assert {"README.md", "docs/provider.md", "docs/rest.md", "docs/durable-core.md", "docs/storage.md"} <= named


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.py", "# as docs/missing.md has it"),
        ("a.py", "# as docs/there.md#no-such-heading has it"),
        ("a.py", '"""See docs/there.md  No such heading."""'),
        ("a.py", "# as kie.md 2.2 has it"),
        ("a.py", "# as S0 section 4 has it"),
        ("a.py", "# the other one (docs/there.md), and this: elsewhere.md"),
        ("b.md", "[that](docs/missing.md)"),
        ("b.md", "[that](docs/there.md#no-such-heading)"),
        ("b.md", "[that](#no-such-heading)"),
        ("docs/c.md", "[that](docs/there.md)"),
        ("a.py", 'MISSING = ROOT / "docs" / "missing.md"'),
    ],
)
def test_a_broken_reference_is_named(tmp_path: Path, file: str, text: str) -> None:
    assert problems(tmp_path, written(tmp_path, file, text)) != []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.py", "# as docs/there.md#a-heading-with-code has it, and https://docs.example/page.md too"),
        ("a.py", '"""See docs/there.md  A heading, with `code`."""'),
        ("b.md", "# Title\n[that](docs/there.md#a-heading-with-code), [this](#title), [far](https://other.example/#x)"),
        ("b.md", "```\n[no link](nowhere.txt)\n```"),
        ("docs/c.md", "[that](there.md#again-1) and [up](../docs/there.md#again)"),
        ("a.py", 'THERE = ROOT / "docs" / "there.md"'),
    ],
)
def test_a_reference_that_leads_somewhere_is_not(tmp_path: Path, file: str, text: str) -> None:
    assert problems(tmp_path, written(tmp_path, file, text)) == []


def written(root: Path, file: str, text: str) -> Path:
    """A file with a text, beside a document with three headings."""
    (root / "docs").mkdir()
    there = "# There\n## A heading, with `code`\n## Again\n## Again\n```\n# no heading\n```\n"
    (root / "docs/there.md").write_text(there, encoding="utf-8")
    (root / file).write_text(text, encoding="utf-8")
    return root / file


def texts(root: Path) -> Iterator[Path]:
    """Every file that may name a document."""
    found = (path for folder in ROOTS for path in (root / folder).rglob("*") if path.suffix in SUFFIXES)
    yield from (path for path in found if "node_modules" not in path.parts)
    yield from (path for path in root.glob("*") if path.suffix in SUFFIXES and path.is_file())
    yield from (root / name for name in BESIDE)


def problems(root: Path, path: Path) -> list[str]:
    """A sentence for each reference of a file that leads nowhere."""
    text, place = prose(path), path.relative_to(root)
    found = [f"{place} cites {cited[0]}, which is not in the repository" for cited in ABSENT.finditer(text)]
    for mention in MENTION.finditer(text):
        candidates = root / mention["path"], path.parent / mention["path"]
        found += broken(place, candidates, mention["anchor"] or "", mention[0], words=slug(mention["words"] or ""))
    if path.suffix == ".md":
        for link in LINK.finditer(FENCE.sub("", text)):
            target = path.parent / link["path"] if link["path"] else path
            found += broken(place, (target,), link["anchor"] or "", link[0])
    return found


def broken(place: Path, candidates: tuple[Path, ...], anchor: str, cited: str, *, words: str = "") -> Iterator[str]:
    """A sentence when none of the candidates is there, or the one that is has no such heading.

    `words` are those behind a : they begin with a heading.
    """
    target = next((candidate for candidate in candidates if candidate.exists()), None)
    if target is None:
        yield f"{place} names {cited}, which is not there"
    elif (anchor and anchor not in anchors(target.resolve())) or (
        words and not any(f"{words}-".startswith(f"{heading}-") for heading in anchors(target.resolve()))
    ):
        yield f"{place} names {cited}, and there is no such heading"


def prose(path: Path) -> str:
    """The text of a file without the URLs of others; paths that Python joins are whole."""
    return URL.sub("", path.read_text(encoding="utf-8")).replace('" / "', "/")


@cache
def anchors(document: Path) -> frozenset[str]:
    """What a document's headings can be cited by; equal ones are numbered, as GitHub does."""
    titles = [slug(found["title"]) for found in HEADING.finditer(FENCE.sub("", document.read_text(encoding="utf-8")))]
    counted = [titles[:place].count(title) for place, title in enumerate(titles)]
    return frozenset(f"{title}-{count}" if count else title for title, count in zip(titles, counted, strict=True))


def slug(title: str) -> str:
    """A heading as GitHub writes it into a link."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
