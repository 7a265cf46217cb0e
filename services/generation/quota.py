"""Daily quotas: the subjects that an order counts for, and what is left of their day (services/chassis/clock.py)."""

from collections.abc import Iterable
from dataclasses import dataclass

SITE = ""  # the subject of the whole site, beside the callers; no caller has an empty name
OPEN_SITE_ORDERS = (
    500  # a day, where nothing else bounds what anonymous callers order with a real key: some tens of dollars
)


@dataclass(frozen=True)
class Charge:
    """A subject that an order counts for, and how many orders it may place in a day."""

    subject: str
    limit: int


@dataclass(frozen=True)
class Quota:
    """A subject's quota: orders a day, orders left today, and seconds until the next day."""

    limit: int
    remaining: int
    reset_seconds: float


def site_orders(given: int | None, *, is_open: bool) -> int:
    """Orders a day for the whole site, 0 for any number: what is set, else a bound where nothing else is one."""
    if given is not None:
        return given
    return OPEN_SITE_ORDERS if is_open else 0


def meaning(orders: int) -> str:
    """The warning at the start of a site that takes anonymous orders with a real key; 0 orders are any number."""
    bound = (
        f"at most {orders} orders a day are taken from all together (SITE_DAILY_ORDERS)"
        if orders
        else "nothing bounds how many (SITE_DAILY_ORDERS=0)"
    )
    return (
        f"whoever reaches this site orders pictures with your key and at your expense; {bound}. To bound it, set "
        "GENERATION_DAILY_QUOTA for each address, sign-in by AUTH_…, or another SITE_DAILY_ORDERS"
    )


def is_billed(keys: Iterable[str]) -> bool:
    """Whether any of the keys costs money: the sandbox takes only keys that begin with `sandbox-`."""
    return any(key and not key.startswith("sandbox-") for key in keys)
