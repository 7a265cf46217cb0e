"""Names are the field's: words that this project once used in their place come back nowhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "catalogue", "deploy", "docs", "gateway", "protos/kawaii", "services", "tests")
SUFFIXES = {".py", ".md", ".proto", ".toml", ".html", ".js", ".j2", ".json", ".css"}
OLD = re.compile(
    r"(?<![A-Za-z])(town|postman|letterbox|mailbox|warden|janitor|keeper|latecomer|bell|bulletin|unbroken|letterhead"
    r"|believer|doorkeeper|workshop|anatomy|thermostat|admirer|anvil|curator|patron|errand|hammer|sabotage|witness|brew"
    r"|bad day)(s|_|\b|(?=(?-i:[A-Z])))",
    re.IGNORECASE,
)
KEPT = (
    "town.lock",  # the lock of a data folder: under another name an old and a new stack could share one
    '"town"',  # the kind of the first record of an export, which files of older versions carry
    '"kind":"town"',
)


def test_no_document_and_no_code_uses_a_word_that_was_given_up() -> None:
    here = Path(__file__)
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    files += [path for path in ROOT.glob("*") if path.suffix in SUFFIXES and path.name != "CHANGELOG.md"]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        if path != here and path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OLD.search(line) and not any(kept in line for kept in KEPT)
    ]

    assert len(files) > 100
    assert not found, "\n".join(found)
