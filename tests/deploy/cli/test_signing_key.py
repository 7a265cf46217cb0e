"""`kawaii signing-key forget` as an operator types it who has lost the key."""

import asyncio
from pathlib import Path

from sqlalchemy import MetaData

from services.chassis.agreements import agree, agreement_table
from services.chassis.database import open_database
from services.chassis.migrations import migrate
from services.chassis.signing_keys import AGREEMENT
from tests.deploy.stacks import Stack


async def test_a_key_that_is_lost_is_forgotten_so_that_the_next_start_decides(tmp_path: Path) -> None:
    stack, table = Stack(tmp_path, 50_050), agreement_table(MetaData())
    for service in ("storage", "community"):
        await asyncio.to_thread(migrate, service, stack.settings)
    async with open_database(stack.settings, "storage") as database:
        assert await database.write(agree, table, AGREEMENT, "lost") == "lost"
        done = await stack.kawaii("signing-key", "forget")
        assert await database.write(agree, table, AGREEMENT, "new") == "new"

    assert (done.code, done.out) == (0, "storage: forgotten\ncommunity: none was known\n")
