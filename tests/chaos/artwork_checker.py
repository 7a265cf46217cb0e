"""The checker of the community: each order has an end that its owner can see, and its credits add up."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Row

from services.chassis.addresses import ListenPort
from services.community.model import Hold, OrderState
from services.community.model.orders import ENDED
from services.community.stores.tables import account, artwork, artwork_order, entry
from services.generation.model import State
from tests.chaos.artwork_clients import ArtworkLog, ArtworkOrder, bearer
from tests.chaos.evidence import READS_AT_ONCE, Facts, rows_of
from tests.chaos.stack import ChaosStack

Rows = Sequence[Row[Any]]


@dataclass(frozen=True)
class ArtworkView:
    """An artwork as its owner and a stranger see it; `digest` is the hash of the bytes at its URL."""

    status: str
    message: str
    digest: str
    shown_prompt: str
    """The prompt that a stranger who knows the id is shown; it has to be empty."""


@dataclass(frozen=True)
class ArtworkChecker:
    """Checks artworks, their orders and credits; each method yields a sentence for every broken promise of its kind."""

    facts: Facts
    log: ArtworkLog
    artworks: Mapping[str, Row[Any]]
    orders: Rows
    balances: Rows
    entries: Rows
    views: Mapping[str, ArtworkView]
    initial: int

    @classmethod
    async def of(cls, stack: ChaosStack, facts: Facts, log: ArtworkLog, initial: int) -> "ArtworkChecker":
        """Read the community's rows, and view each artwork as its owner and as a stranger."""
        artworks, orders, balances, entries = await rows_of(stack, "community", artwork, artwork_order, account, entry)
        views = await views_of(stack, log)
        return cls(facts, log, {row.id: row for row in artworks}, orders, balances, entries, views, initial)

    def broken(self) -> dict[str, list[str]]:
        """By promise, a sentence for each time that it was broken."""
        return {
            "artworks lost or doubled": list(self.lost()),
            "artworks that show no end": list(self.without_end()),
            "orders that contradict generation": list(self.contradicting()),
            "orders billed twice": list(self.billed_twice()),
            "credits that do not add up": list(self.unbalanced()),
            "unexpected answers to artwork orders": list(self.log.unexpected),
        }

    def in_state(self, state: OrderState) -> int:
        """How many orders are in a state."""
        return sum(order.state == state for order in self.orders)

    def lost(self) -> Iterator[str]:
        """Artworks that were accepted and are not there, or are there twice."""
        counted = Counter(prompt_of(order) for order in self.orders)
        for prompt, identifier in self.log.accepted.items():
            if identifier not in self.artworks:
                yield f"{identifier} was accepted and does not exist: {prompt}"
            if counted[prompt] != 1:
                yield f"{counted[prompt]} orders of {prompt}"
        if len(self.artworks) != len(self.log.accepted):
            yield f"{len(self.artworks)} artworks of {len(self.log.accepted)} that were accepted"

    def without_end(self) -> Iterator[str]:
        """Artworks that show their owner neither the stored picture nor a reason, or show a stranger the prompt."""
        for identifier, view in self.views.items():
            row = self.artworks.get(identifier)
            kept = self.facts.files.get(row.object_key, "no file") if row is not None else "no artwork"
            pictured = view.status == "completed" and view.digest == kept
            explained = view.status == "failed" and view.message
            if not (pictured or explained):
                yield f"{identifier} shows {view}, stored is {kept}"
            if view.shown_prompt:
                yield f"{identifier} is a draft, and a stranger is shown its prompt"

    def contradicting(self) -> Iterator[str]:
        """Orders that have not ended, or otherwise than their generation; and generations that no client ordered."""
        for order in self.orders:
            found = self.facts.generations.get(order.generation_id)
            made = found is not None and found.state == State.SUCCEEDED
            if order.state not in ENDED or made != (order.state == OrderState.SUCCEEDED):
                yield f"{order.id} is {order.state}, its generation {found.state if found else 'missing'}"
        known = {order.generation_id for order in self.orders}
        yield from (f"nobody ordered {identifier}" for identifier in self.facts.generations.keys() - known)

    def billed_twice(self) -> Iterator[str]:
        """More than one bill for an order, or a bill for none."""
        owners = {row.id: row.generation_id for row in self.facts.attempts}
        bills = Counter(owners.get(bill.attempt_id, "nobody") for bill in self.facts.bills)
        yield from (f"{count} bills for {owner}" for owner, count in bills.items() if count > 1 or owner == "nobody")

    def unbalanced(self) -> Iterator[str]:
        """Credits that are still held, and balances that are not the initial credits less what was captured."""
        yield from (f"{order.id} still holds {order.cost}" for order in self.orders if order.hold == Hold.HELD)
        for order in self.orders:
            if (order.hold == Hold.CAPTURED) != (order.state == OrderState.SUCCEEDED):
                yield f"{order.id} is {order.state}, and its credits are {order.hold}"
        paid: Counter[str] = Counter()
        for order in self.orders:
            paid[order.user_id] += order.cost * (order.hold == Hold.CAPTURED)
        for row in self.balances:
            written = sum(line.amount for line in self.entries if line.user_id == row.user_id)
            if (row.credits, row.held) != (self.initial - paid[row.user_id], 0) or row.credits != written:
                yield f"{row.user_id} has {row.credits}, {row.held} held, captured {paid[row.user_id]}, wrote {written}"


def prompt_of(order: Row[Any]) -> str:
    """The prompt of an order."""
    return str(json.loads(order.request)["prompt"])


async def views_of(stack: ChaosStack, log: ArtworkLog) -> dict[str, ArtworkView]:
    """The view of every artwork that was accepted, by id."""
    limit = asyncio.Semaphore(READS_AT_ONCE)
    files = f"http://127.0.0.1:{stack.base + ListenPort.FILES}"
    async with httpx.AsyncClient(base_url=stack.url, timeout=30, trust_env=False) as http:
        view = partial(view_of, http, limit, files)
        accepted = [(log.ordered[prompt], identifier) for prompt, identifier in log.accepted.items()]
        return dict(await asyncio.gather(*(view(*each) for each in accepted)))


async def view_of(
    http: httpx.AsyncClient, limit: asyncio.Semaphore, files: str, order: ArtworkOrder, identifier: str
) -> tuple[str, ArtworkView]:
    """An artwork's id and view; its bytes are read from storage's own listener, since this stack has no Envoy."""
    async with limit:
        path, headers = f"/api/artworks/{identifier}", bearer(order.person)
        task = (await http.get(f"/api/artworks/task-status/{identifier}", headers=headers)).json().get("data", {})
        detail = (await http.get(path, headers=headers)).json().get("data", {})
        stranger = await http.get(path)
        status, digest = task.get("status", "missing"), ""
        if status == "completed":
            picture = await http.get(files + urlsplit(detail["url"]).path)
            digest = hashlib.sha256(picture.content).hexdigest()
        return identifier, ArtworkView(status, task.get("errorMessage", ""), digest, prompt_in(stranger))


def prompt_in(answer: httpx.Response) -> str:
    """The prompt in an answer; empty when it has none."""
    return str((answer.json().get("data") or {}).get("prompt") or "")
