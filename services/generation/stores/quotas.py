"""Statements that count orders for the daily quotas, in the transaction that stores the order."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from services.chassis.clock import day_of, seconds_left
from services.chassis.database import Transaction, db_now, upsert
from services.chassis.errors import ResourceExhausted
from services.generation.quota import SITE, Charge, Quota
from services.generation.stores.tables import quota_use


def count(transaction: Transaction, charges: Sequence[Charge], counted_ms: int = 0) -> Quota | None:
    """Count one order for each of its subjects: for all, or by the caller's roll-back for none.

    An order that was counted on this day already, at `counted_ms`, is not counted again.

    Returns:
        The quota of the subject with the fewest orders left; None when the order counts for the site alone.

    Raises:
        ResourceExhausted: the day of one of them is used up (reason RATE_LIMIT, of the site SITE_QUOTA_EXCEEDED).
    """
    if not charges:
        return None
    now = int(transaction.scalar(select(db_now())) or 0)
    if day_of(counted_ms) == day_of(now):
        return None
    left = seconds_left(now)
    quotas = []
    # In one order, so that two orders never wait for each other; the site's row, which all share, is locked last.
    for charge in sorted(charges, key=lambda charge: (charge.subject == SITE, charge.subject)):
        used = _counted(transaction, charge, now)
        if charge.subject != SITE:
            quotas.append(Quota(charge.limit, charge.limit - used, left))
    return min(quotas, key=lambda quota: quota.remaining, default=None)


def _counted(transaction: Transaction, charge: Charge, now: int) -> int:
    """Count an order for one subject; its orders today. Raises ResourceExhausted."""
    used = _one_more(transaction, charge, day_of(now))
    if used is None:
        raise _refusal(charge, seconds_left(now))
    if used == 1:
        transaction.execute(delete(quota_use).where(quota_use.c.day < day_of(now)))
    return used


def _refusal(charge: Charge, left: float) -> ResourceExhausted:
    if charge.subject == SITE:
        return ResourceExhausted(
            f"This site takes {charge.limit} orders a day from all its visitors together, and they are placed. Nothing "
            "was billed. Come back after midnight in Japan, or ask its operator, who can raise SITE_DAILY_ORDERS.",
            "SITE_QUOTA_EXCEEDED",
            retry_after=left,
        )
    sentence = f"You have placed the {charge.limit} orders that a day allows. Come back after midnight in Japan."
    return ResourceExhausted(sentence, metadata={"quota_limit": str(charge.limit)}, retry_after=left)


def _one_more(transaction: Transaction, charge: Charge, day: int) -> int | None:
    """The subject's orders with this one, None if too many. One statement, so that of two at once one waits."""
    first = upsert(transaction, quota_use).values(day=day, subject=charge.subject, used=1)
    another = first.on_conflict_do_update(
        index_elements=["day", "subject"], set_={"used": quota_use.c.used + 1}, where=quota_use.c.used < charge.limit
    )
    used: int | None = transaction.scalar(another.returning(quota_use.c.used))
    return used
