"""The pages' own files: by a fixed table, typed, and confirmed instead of sent again."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from gateway.pages.assets import NAMES


@pytest.mark.parametrize(("name", "media_type"), NAMES.items())
async def test_assets_are_sent_once_and_then_confirmed(client: httpx.AsyncClient, name: str, media_type: str) -> None:
    first = await client.get(f"/assets/{name}")
    again = await client.get(f"/assets/{name}", headers={"If-None-Match": f'"old", W/{first.headers["etag"]}'})

    assert (first.status_code, first.headers["content-type"]) == (200, media_type)
    assert first.headers["cache-control"] == "public, max-age=3600"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


async def test_every_asset_a_page_names_exists(
    client: httpx.AsyncClient, browse: Callable[[str], Awaitable[Any]]
) -> None:
    named = {value for _, attributes in (await browse("/")).elements for value in attributes.values() if value}
    paths = [value for value in named if value.startswith("/assets/")]

    assert len(paths) == 3
    assert {(await client.get(path)).status_code for path in [*paths, "/favicon.ico"]} == {200}


@pytest.mark.parametrize("name", ["none.js", "APP.JS", "..assets.py", "..%2Fassets.py", "%00"])
async def test_only_the_files_of_the_table_are_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/assets/{name}")).status_code == 404
