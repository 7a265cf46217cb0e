"""Throws what the published description allows, and what it forbids, at a real stack: `make fuzz`.

Every answer must be below 500, in the format its operation promises, and of the promised schema and status.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.chassis.names import host_of
from tests.e2e.stack import Stack, running

CHECKS = [not_a_server_error, content_type_conformance, status_code_conformance, response_schema_conformance]
SECONDS = 30  # for one answer; a download may take most of it
KEEP = "/api/download-and-upload"
PICTURE = "https://pictures.example/fuzz.png"
# A stack that is never too busy, too poor or too patient for what is thrown at it.
WIDE = {
    "GENERATION_CREATES_PER_WINDOW": "1000",
    "GENERATION_CREATE_WAIT_SECONDS": "1",
    "SANDBOX_CREATE_LIMIT": "100000",
    "SANDBOX_CREDITS": "100000000",
    "SANDBOX_GENERATION_SECONDS": "0.2",
    "SANDBOX_IMAGE_SIDE": "64",
    "FETCH_CONNECT_SECONDS": "1",
    "FETCH_TOTAL_SECONDS": "5",
    "DEBUG_ENV_ENABLED": "1",
}
Known = dict[str, str]


@dataclass
class Figures:
    """How many cases there were, by operation and by status."""

    operations: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """All of them."""
        return self.operations.total()

    def table(self) -> str:
        """A line for each operation, and the sums."""
        lines = [f"{count:7}  {name}" for name, count in sorted(self.operations.items())]
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return "\n".join([*self.failures, *lines, f"{self.cases:7}  in all: {statuses}; {len(self.failures)} failures"])


@contextmanager
def wide_stack(folder: Path) -> Iterator[Stack]:
    """A stack to throw things at."""
    with running(folder / "data", **WIDE) as stack:
        yield stack


def known_of(stack: Stack) -> Known:
    """Ids that exist, so that not every guess ends at the first door."""
    made = stack.post("/api/share", {"generatedUrl": PICTURE}).raise_for_status().json()
    task = stack.order("a picture to be asked about")
    stack.picture(task)
    return {"taskId": task, "id": str(made["shareId"])}


def storm(stack: Stack, cases: int, seed: int) -> Figures:
    """Throw at least so many cases; a failure comes with the request that shows it, as a curl line."""
    document = stack.http.get("/api/openapi.json").raise_for_status().json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    known, figures, luck = known_of(stack), Figures(), random.Random(seed)
    while figures.cases < cases:
        share = ceil((cases - figures.cases) / len(operations))
        for operation in operations:
            throw(stack, operation, known, figures, share, luck.randrange(2**32))
    return figures


def throw(
    stack: Stack, operation: APIOperation[Any, Any, Any, Any], known: Known, figures: Figures, cases: int, seed: int
) -> None:
    """Throw some cases at one operation: right ones, wrong ones, and right ones about what exists."""

    def case(given: Case) -> None:
        tame(given)
        answer = given.call(base_url=stack.url, timeout=SECONDS)
        figures.operations[operation.label] += 1
        figures.statuses[answer.status_code] += 1
        given.validate_response(answer, checks=CHECKS)
        readable(answer.status_code, answer.headers.get("content-type", [""])[0], answer.content)

    right = operation.as_strategy(GenerationMode.POSITIVE)
    wrong = operation.as_strategy(GenerationMode.NEGATIVE)
    settings = hypothesis.settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    strategy = hypothesis.strategies.one_of(right, wrong, *about(operation, known))
    try:
        hypothesis.seed(seed)(settings(hypothesis.given(strategy)(case)))()
    except (FailureGroup, AssertionError) as failure:
        figures.failures.append(f"{operation.label}: {failure}")


def about(operation: APIOperation[Any, Any, Any, Any], known: Known) -> Iterator[Any]:
    """Right cases about what exists, where the operation asks about something."""
    query = {name: known[name] for name in known if operation.query.get(name)}
    path = {name: known[name] for name in known if operation.path_parameters.get(name)}
    if query or path:
        yield operation.as_strategy(GenerationMode.POSITIVE, query=query or None, path_parameters=path or None)


def tame(given: Case) -> None:
    """Point what would be fetched at a host that nobody has (RFC 2606): the web is not ours to throw things at."""
    if given.path == KEEP and isinstance(given.body, dict):
        for name in ("url", "kieImageUrl"):
            value = given.body.get(name)
            if isinstance(value, str) and host_of(value):
                given.body[name] = urlsplit(value)._replace(netloc="pictures.invalid").geturl()


def readable(status: int, kind: str, body: bytes) -> None:
    """Raise AssertionError for an answer that is neither JSON nor what its kind says."""
    if status in (requests.codes.no_content, requests.codes.not_modified):
        assert body == b""
    elif not kind.startswith(("text/event-stream", "application/xml", "image/")):
        assert kind == "application/json", kind
        assert isinstance(json.loads(body), dict)


def main() -> None:
    """Start a stack, throw, print the figures; exits with 1 when there was a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    asked = parser.parse_args()
    sys.stdout.write(f"seed {asked.seed}\n")
    with tempfile.TemporaryDirectory() as folder, wide_stack(Path(folder)) as stack:
        figures = storm(stack, asked.cases, asked.seed)
    sys.stdout.write(figures.table() + "\n")
    raise SystemExit(bool(figures.failures))


if __name__ == "__main__":
    main()
