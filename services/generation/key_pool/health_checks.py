"""Health checks of the key pool: balances are read, and keys that the provider refused are probed."""

import asyncio

import structlog

from services.chassis.errors import Unavailable
from services.chassis.lease_loop import LOOK_SECONDS
from services.generation.key_pool.cooldowns import NOT_BY_TIME
from services.generation.key_pool.pool import BalanceReader, Key, KeyPool, KeyStatus
from services.generation.outcomes import Later, Refused
from services.generation.timing import Timing, jittered

logger = structlog.get_logger()


class KeyHealthChecks:
    """Checks keys by reading balances, which costs nothing."""

    def __init__(self, key_pool: KeyPool, balances: BalanceReader, timing: Timing) -> None:
        self._key_pool = key_pool
        self._balances = balances
        self._timing = timing

    async def run(self) -> None:
        """Check what is due, for ever."""
        while True:
            await self.check_due()
            await asyncio.sleep(jittered(LOOK_SECONDS))

    async def check_due(self) -> None:
        """Check the keys and accounts that are due, all at once: there are at most as many as settings."""
        due = await self._key_pool.due(jittered(self._timing.balance), self._timing.dry_balance)
        await asyncio.gather(*map(self._ask, due))

    async def probe(self, key_print: str) -> KeyStatus:
        """Check a key now.

        Raises:
            NotFound: no such key.
            Unavailable: the provider did not answer.
        """
        answer = await self._ask(self._key_pool.find(key_print))
        if isinstance(answer, Later):
            raise Unavailable(f"The upstream did not answer: {answer.detail}. Try again.", retry_after=LOOK_SECONDS)
        return await self._key_pool.status(key_print)

    async def _ask(self, key: Key) -> float | Refused | Later:
        """Read a balance and record what it means; a refusal that passes with time concerns reads, not creates."""
        answer = await self._balances.credits(key)
        match answer:
            case float():
                await self._key_pool.note_balance(key, answer)
            case Refused(code, _, retry_after) if code in NOT_BY_TIME:
                await self._key_pool.refused(key, code, retry_after)
            case _:
                logger.info("balance_unknown", account=key.account, print=key.print, answer=repr(answer))
        return answer
