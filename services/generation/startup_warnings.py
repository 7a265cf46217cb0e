"""Warnings in the log at each start about an operator's choices of keys and quotas."""

import structlog

from services.generation.key_pool.pool import PoolStatus
from services.generation.quota import meaning
from services.generation.settings import GenerationSettings

UNNAMED = (
    "KIE_ACCOUNTS is not set: each key is an account of its own, named by its digest. Set it before you rotate a key, "
    "with one name for each key; tasks of a key that is replaced can only be read by a key of the same named account."
)
MISSING = (
    "Tasks wait for an account of which no key is configured. They go on when its key is configured again, or another "
    "key under its name in KIE_ACCOUNTS."
)

logger = structlog.get_logger()


def warn(settings: GenerationSettings, pool: PoolStatus) -> None:
    """Warn where keys have no named accounts, of accounts that tasks wait for, and of orders without a bound."""
    if not settings.accounts_named:
        logger.warning("accounts_not_named", meaning=UNNAMED)
    orders = settings.effective_site_orders
    if settings.is_open:
        logger.warning("orders_open_to_all", site_daily_orders=orders, meaning=meaning(orders))
    for account in pool.accounts:
        if account.missing:
            logger.warning("account_missing", account=account.name, tasks=account.waiting_tasks, meaning=MISSING)
