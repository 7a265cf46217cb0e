"""The description of the routes is that of the routes, and one that tools accept."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from starlette.routing import Route

from gateway.app import ROUTES
from gateway.rest.responses import Methods
from gateway.routes import community
from gateway.routes.image_site.openapi import DOCUMENT

# What is described elsewhere: the second family of front ends has its own table.
ELSEWHERE = frozenset(id(route) for route in community.ROUTES)
TABLE = [
    route
    for route in ROUTES
    if isinstance(route, Route) and route.path.startswith("/api/") and id(route) not in ELSEWHERE
]
DESCRIBED = json.loads(DOCUMENT)
METHODS = ("get", "put", "post", "delete")


def taken(route: Route) -> list[str]:
    """The methods of a line of the table; HEAD goes with GET and needs no description."""
    methods = route.endpoint.names if isinstance(route.endpoint, Methods) else route.methods or ()
    return [method for method in methods if method != "HEAD"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DESCRIBED["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {(route.path, method) for route in TABLE for method in taken(route)}

    assert routes == {(path, method) for path, method, _ in operations()}


def test_every_operation_has_a_name_of_its_own_a_summary_and_its_failures() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(names) == len(set(names))
    for _, _, operation in operations():
        assert operation["summary"].endswith(".")
        assert {"4XX", "5XX"} <= set(operation["responses"])


@pytest.mark.parametrize("name", DESCRIBED["components"]["schemas"])
def test_every_schema_is_one(name: str) -> None:
    jsonschema_rs.meta.validate(DESCRIBED["components"]["schemas"][name])


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": ?"#/([^"]+)"', DOCUMENT.decode()))

    assert references
    for reference in references:
        place = DESCRIBED
        for step in reference.split("/"):
            assert step in place, reference
            place = place[step]


async def test_it_is_served_and_not_sent_twice(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/openapi.json")
    again = await client.get("/api/openapi.json", headers={"If-None-Match": response.headers["etag"]})

    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == DESCRIBED
    assert (again.status_code, again.content) == (304, b"")
