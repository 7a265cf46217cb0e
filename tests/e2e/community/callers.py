"""People who call the community's door, each with a token of their own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from tests.e2e.stack import Stack
from tests.support.polling import until

SECRET = "an-end-to-end-secret-that-is-long-enough"
SITE = "https://site.example"
PROMPT = "a lantern festival by the river"


def token(subject: str, secret: str = SECRET, **claims: Any) -> str:
    """A token as the site's sign-in service would issue it."""
    return jwt.encode({"sub": subject, "exp": int(time.time()) + 600} | claims, secret, algorithm="HS256")


@dataclass(frozen=True)
class Caller:
    """One person's way through the door."""

    http: httpx.Client
    id: str = ""

    def ok(self, method: str, path: str, **more: Any) -> Any:
        """The data of a call that must succeed."""
        answer = self.http.request(method, path, **more)
        assert answer.status_code == httpx.codes.OK, (path, answer.text)
        body = answer.json()
        assert body["success"] is True, body
        return body["data"]

    def code(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and machine word of a call that must fail, whose body has every field of both families."""
        answer = self.http.request(method, path, **more)
        body = answer.json()
        assert body["success"] is False, body
        assert body["error"] == body["message"] != ""
        return answer.status_code, body["code"]

    def ordered(self, prompt: str = PROMPT, **fields: Any) -> dict[str, Any]:
        """The answer to an order."""
        return dict(self.ok("POST", "/api/artworks/generate", json={"prompt": prompt} | fields))

    def finished(self, task: str) -> dict[str, Any]:
        """The task as FE-B polls it: no answer but 200 on the way, until a terminal word."""
        return until(lambda: self._terminal(task))

    def draft(self, prompt: str = PROMPT, **fields: Any) -> str:
        """The id of a finished draft."""
        order = self.ordered(prompt, **fields)
        assert self.finished(order["id"])["status"] == "completed"
        return str(order["artworkId"])

    def published(self, prompt: str = PROMPT, **fields: Any) -> str:
        """The id of a published artwork."""
        artwork = self.draft(prompt, **fields)
        self.ok("POST", f"/api/artworks/{artwork}/publish")
        return artwork

    def _terminal(self, task: str) -> dict[str, Any] | None:
        found = self.ok("GET", f"/api/artworks/task-status/{task}")
        return dict(found) if found["status"] in ("completed", "failed") else None


@contextmanager
def caller(stack: Stack, subject: str = "", **claims: Any) -> Iterator[Caller]:
    """Somebody; a stranger without a subject."""
    headers = {"Authorization": f"Bearer {token(subject, **claims)}"} if subject else {}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=20) as http:
        yield Caller(http, subject)
