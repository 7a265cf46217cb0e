"""Reads pages as a browser does: what became an element, and what stayed text."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx
import pytest


@dataclass
class Page(HTMLParser):
    """What a browser makes of a page: its elements, and its text outside of tags."""

    response: httpx.Response
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = [""]
        self.feed(self.response.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Go back to where the element began, over those that need no end."""
        while tag in self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Note a text and the element it stands in."""
        self.texts.append((self.open[-1], data))

    def text(self, tag: str) -> str:
        """The text of all elements of this kind."""
        return "".join(text for inside, text in self.texts if inside == tag).strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of this kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def meta(self, name: str) -> str | None:
        """The content of a meta element, by its name or property."""
        found = [meta["content"] for meta in self.all("meta") if name in {meta.get("name"), meta.get("property")}]
        return found[0] if found else None


@pytest.fixture
def browse(client: httpx.AsyncClient) -> Callable[..., Awaitable[Page]]:
    """Load a path of the gateway and read the page."""

    async def load(path: str) -> Page:
        return Page(await client.get(path))

    return load
