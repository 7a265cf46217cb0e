"""Looks after the key pool: asks what rests whether it works again, and lets operators see and turn each key."""

import asyncio

import structlog

from services.chassis.errors import Unavailable
from services.generation.answers import Later, Refused
from services.generation.cooling import NEWS
from services.generation.core.worker import LOOK_SECONDS
from services.generation.keyring import Bank, Key, Keys, KeyStatus, Pool
from services.generation.plan import Plan, jittered

logger = structlog.get_logger()


class Warden:
    """The keys' keeper. It only ever reads balances, which spends nothing."""

    def __init__(self, keys: Keys, bank: Bank, plan: Plan) -> None:
        self._keys = keys
        self._bank = bank
        self._plan = plan

    async def run(self) -> None:
        """Make the rounds for ever."""
        while True:
            await self.round()
            await asyncio.sleep(jittered(LOOK_SECONDS))

    async def round(self) -> None:
        """Ask once whatever is due; there are at most as many keys as settings, so all at once."""
        due = await self._keys.due(jittered(self._plan.balance), self._plan.dry_balance)
        await asyncio.gather(*map(self._ask, due))

    async def listing(self) -> Pool:
        """All keys and accounts, and why they rest."""
        return await self._keys.listing()

    async def enable(self, key_print: str) -> KeyStatus:
        """Put a key back. Raises NotFound."""
        return await self._keys.enable(key_print)

    async def disable(self, key_print: str) -> KeyStatus:
        """Take a key out. Raises NotFound."""
        return await self._keys.disable(key_print)

    async def probe(self, key_print: str) -> KeyStatus:
        """Ask now whether a key works.

        Raises:
            NotFound: no such key.
            Unavailable: the provider did not say.
        """
        answer = await self._ask(await self._keys.find(key_print))
        if isinstance(answer, Later):
            raise Unavailable(f"The upstream did not say: {answer.detail}. Try again.", retry_after=LOOK_SECONDS)
        return await self._keys.status(key_print)

    async def _ask(self, key: Key) -> float | Refused | Later:
        """Ask for a balance and note what the answer means; a refusal that time ends is about reading, not creating."""
        answer = await self._bank.credits(key)
        match answer:
            case float():
                await self._keys.note_balance(key, answer)
            case Refused(code, _, retry_after) if code in NEWS:
                await self._keys.refused(key, code, retry_after)
            case _:
                logger.info("balance_unknown", account=key.account, print=key.print, answer=repr(answer))
        return answer
