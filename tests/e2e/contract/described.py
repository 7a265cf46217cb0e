"""Holds real answers against the published description of the routes: the schema of their operation and status."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs

METHODS = ("get", "put", "post", "delete")


class Description:
    """The OpenAPI document that the stack itself serves."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        # A path without a parameter wins over one with: /api/share/list is no share.
        self._paths = sorted(document["paths"], key=lambda path: "{" in path)

    def validated(self, answer: httpx.Response) -> Any:
        """The body of an answer, which its operation must have promised."""
        schema = self._schema(answer)
        body = answer.json()
        jsonschema_rs.validator_for({**schema, "components": self._document["components"]}).validate(body)
        return body

    def operations(self) -> Iterator[tuple[str, str]]:
        """Method and path of everything described."""
        for path in self._paths:
            yield from ((method.upper(), path) for method in METHODS if method in self._document["paths"][path])

    def _schema(self, answer: httpx.Response) -> dict[str, Any]:
        request = answer.request
        path = next(path for path in self._paths if fits(path, request.url.path))
        responses = self._document["paths"][path][request.method.lower()]["responses"]
        promised = responses.get(str(answer.status_code)) or responses[f"{answer.status_code // 100}XX"]
        if "$ref" in promised:
            promised = self._document["components"]["responses"][promised["$ref"].rpartition("/")[2]]
        found: dict[str, Any] = promised["content"]["application/json"]["schema"]
        return found


def fits(template: str, path: str) -> bool:
    """Whether a path is one of a template."""
    return bool(re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path))
