"""Wraps what this family's front ends unwrap: {success, data} (docs/rest.md#sources)."""

from typing import Any

from gateway.rest.responses import NO_STORE, Json


def ok(data: object, **beside: Any) -> Json:
    """A success. Whoever is signed in sees other answers than strangers, so none of them is kept by a cache."""
    given = {name: value for name, value in beside.items() if value}
    return Json({"success": True, "data": data, **given}, headers=NO_STORE | {"Vary": "Authorization, Cookie"})
