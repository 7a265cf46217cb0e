"""`kawaii keys`: the provider keys of a running stack, each by its print, never by its value."""

from typing import Any

import click

from deploy.cli.output import ask, enum_word, moment, output, show, table

KEY_COLUMNS = ("KEY", "ACCOUNT", "STATE", "CAUSE", "RESTS UNTIL")
ACCOUNT_COLUMNS = ("ACCOUNT", "CREDITS", "ASKED", "LAST 10 S", "IN FLIGHT", "CAUSE", "RESTS UNTIL", "UNPAID")


@click.group()
def keys() -> None:
    """See and steer the key pool. KEY is a print that `keys list` shows. Exit 1: refused or not reachable."""


@keys.command("list")
@output
def list_(output: str) -> None:
    """Show every key and account, and why it rests."""
    show(ask("ListProviderKeys"), output, pool)


@keys.command()
@click.argument("key")
@output
def enable(key: str, output: str) -> None:
    """Put a key back into the pool at once, ending its rest."""
    show(ask("EnableKey", name=named(key)), output, one)


@keys.command()
@click.argument("key")
@output
def disable(key: str, output: str) -> None:
    """Take a key out of the pool until it is enabled."""
    show(ask("DisableKey", name=named(key)), output, one)


@keys.command()
@click.argument("key")
@output
def probe(key: str, output: str) -> None:
    """Ask the provider now whether a key works; this spends nothing."""
    show(ask("ProbeKey", name=named(key)), output, one)


def named(key: str) -> str:
    """The resource name of a key's print."""
    return f"providerKeys/{plain(key)}"


def plain(name: str) -> str:
    """The print in a resource name; a print as it is."""
    return name.removeprefix("providerKeys/")


def one(key: dict[str, Any]) -> str:
    """A key as a table of one line."""
    return table(KEY_COLUMNS, [key_row(key)])


def pool(answer: dict[str, Any]) -> str:
    """The keys and their accounts as two tables."""
    accounts = table(ACCOUNT_COLUMNS, map(account_row, answer["accounts"]))
    missing = "".join(f"\n\n{missed(account)}" for account in answer["accounts"] if account.get("missing"))
    return f"{table(KEY_COLUMNS, map(key_row, answer['providerKeys']))}\n\n{accounts}{missing}"


def missed(account: dict[str, Any]) -> str:
    """What an operator can do about an account that tasks wait for."""
    name, tasks = account["account"], account["waitingTaskCount"]
    return (
        f"{tasks} tasks wait for account {name}, of which no key is configured. Configure its key again, or another "
        f"key of the same account under the name {name} in KIE_ACCOUNTS, and restart generation."
    )


def key_row(key: dict[str, Any]) -> tuple[object, ...]:
    """A key as a line of KEY_COLUMNS."""
    state = enum_word(key["state"], "STATE_")
    return plain(key["name"]), key["account"], state, key["causeCode"] or "", moment(key.get("restEndTime"))


def account_row(account: dict[str, Any]) -> tuple[object, ...]:
    """An account as a line of ACCOUNT_COLUMNS."""
    asked = account.get("creditsTime")
    return (
        account["account"],
        f"{account['credits']:g}" if asked else "",
        moment(asked),
        account["recentCreateCount"],
        account["inFlightCount"],
        "MISSING" if account.get("missing") else account["causeCode"] or "",
        moment(account.get("restEndTime")),
        ", ".join(account.get("unpaidModels", ())),
    )
