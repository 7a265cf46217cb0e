"""Judges the community after a storm: each order has an end that its owner can see, and its credits add up."""

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

from services.chassis.listen_addresses import ListenPort
from services.community.model import Hold, OrderState
from services.community.model.orders import ENDED
from services.community.stores.tables import account, artwork, artwork_order, entry
from services.generation.model import State
from tests.chaos.facts import READS_AT_ONCE, Facts, rows_of
from tests.chaos.patrons import Accounts, Commission, signed
from tests.chaos.stack import ChaosStack

Rows = Sequence[Row[Any]]


@dataclass(frozen=True)
class Sight:
    """What an owner and a stranger see of an artwork; digest is that of the bytes that its address leads to."""

    status: str
    message: str
    digest: str
    told: str
    """The prompt that a stranger who holds the id is shown; a title of the prompt's first words is shown to all."""


@dataclass(frozen=True)
class Curator:
    """Each method yields a sentence for every broken promise of its kind."""

    facts: Facts
    accounts: Accounts
    artworks: Mapping[str, Row[Any]]
    orders: Rows
    balances: Rows
    entries: Rows
    sights: Mapping[str, Sight]
    initial: int

    @classmethod
    async def of(cls, stack: ChaosStack, facts: Facts, accounts: Accounts, initial: int) -> "Curator":
        """Read everything of the community, and look at each artwork as its owner and as a stranger."""
        artworks, orders, balances, entries = await rows_of(stack, "community", artwork, artwork_order, account, entry)
        sights = await seen(stack, accounts)
        return cls(facts, accounts, {row.id: row for row in artworks}, orders, balances, entries, sights, initial)

    def broken(self) -> dict[str, list[str]]:
        """Every promise with what broke it."""
        return {
            "artworks lost or doubled": list(self.lost()),
            "artworks that show no end": list(self.unshown()),
            "orders that generation tells otherwise": list(self.contradicted()),
            "orders billed twice": list(self.billed_twice()),
            "credits that do not add up": list(self.unbalanced()),
            "odd answers to patrons": list(self.accounts.odd),
        }

    def in_state(self, state: OrderState) -> int:
        """How many orders ended so."""
        return sum(order.state == state for order in self.orders)

    def lost(self) -> Iterator[str]:
        """Accepted and not there, or there twice."""
        counted = Counter(prompt_of(order) for order in self.orders)
        for prompt, identifier in self.accounts.accepted.items():
            if identifier not in self.artworks:
                yield f"{identifier} was accepted and is nowhere: {prompt}"
            if counted[prompt] != 1:
                yield f"{counted[prompt]} orders of {prompt}"
        if len(self.artworks) != len(self.accounts.accepted):
            yield f"{len(self.artworks)} artworks of {len(self.accounts.accepted)} that were accepted"

    def unshown(self) -> Iterator[str]:
        """Neither a stored picture that its owner sees and nobody else, nor a failure that says why."""
        for identifier, sight in self.sights.items():
            row = self.artworks.get(identifier)
            kept = self.facts.files.get(row.object_key, "no file") if row is not None else "no artwork"
            pictured = sight.status == "completed" and sight.digest == kept
            explained = sight.status == "failed" and sight.message
            if not (pictured or explained):
                yield f"{identifier} shows {sight}, kept is {kept}"
            if sight.told:
                yield f"{identifier} is a draft, and a stranger is told what was asked for"

    def contradicted(self) -> Iterator[str]:
        """An order that has not ended, or otherwise than its generation; or a generation that nobody ordered."""
        for order in self.orders:
            found = self.facts.generations.get(order.generation_id)
            made = found is not None and found.state == State.SUCCEEDED
            if order.state not in ENDED or made != (order.state == OrderState.SUCCEEDED):
                yield f"{order.id} is {order.state}, its generation {found.state if found else 'nowhere'}"
        known = {order.generation_id for order in self.orders}
        yield from (f"nobody ordered {identifier}" for identifier in self.facts.generations.keys() - known)

    def billed_twice(self) -> Iterator[str]:
        """More than one bill of the provider for an order."""
        owners = {row.id: row.generation_id for row in self.facts.attempts}
        bills = Counter(owners.get(bill.attempt_id, "nobody") for bill in self.facts.bills)
        yield from (f"{count} bills for {owner}" for owner, count in bills.items() if count > 1 or owner == "nobody")

    def unbalanced(self) -> Iterator[str]:
        """Credits still held, or a balance that is not what was given less what was captured."""
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
    """What was ordered."""
    return str(json.loads(order.request)["prompt"])


async def seen(stack: ChaosStack, accounts: Accounts) -> dict[str, Sight]:
    """Look at every artwork that was accepted."""
    room = asyncio.Semaphore(READS_AT_ONCE)
    files = f"http://127.0.0.1:{stack.base + ListenPort.FILES}"
    async with httpx.AsyncClient(base_url=stack.url, timeout=30, trust_env=False) as http:
        look = partial(looked, http, room, files)
        wanted = [(accounts.wanted[prompt], identifier) for prompt, identifier in accounts.accepted.items()]
        return {sight[0]: sight[1] for sight in await asyncio.gather(*(look(*each) for each in wanted))}


async def looked(
    http: httpx.AsyncClient, room: asyncio.Semaphore, files: str, commission: Commission, identifier: str
) -> tuple[str, Sight]:
    """How one artwork looks; its address leads to storage's own listener, since there is no Envoy here."""
    async with room:
        path, headers = f"/api/artworks/{identifier}", signed(commission.person)
        told = (await http.get(f"/api/artworks/task-status/{identifier}", headers=headers)).json().get("data", {})
        detail = (await http.get(path, headers=headers)).json().get("data", {})
        stranger = await http.get(path)
        status, digest = told.get("status", "nowhere"), ""
        if status == "completed":
            picture = await http.get(files + urlsplit(detail["url"]).path)
            digest = hashlib.sha256(picture.content).hexdigest()
        return identifier, Sight(status, told.get("errorMessage", ""), digest, told_of(stranger))


def told_of(answer: httpx.Response) -> str:
    """The prompt in an artwork's answer; empty when there is none, or no artwork."""
    return str((answer.json().get("data") or {}).get("prompt") or "")
