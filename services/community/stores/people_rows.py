"""The row of a person: made on first sight, whoever sees them first, and never blanked."""

from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import upsert
from services.community.stores.tables import person


async def known(connection: AsyncConnection, user_id: str, now_ms: int) -> None:
    """Make sure that there is a row that others may point to."""
    blank = {"display_name": "", "email": "", "picture_uri": "", "hide_name": False, "hide_email": True}
    times = {"create_ms": now_ms, "update_ms": now_ms}
    statement = upsert(connection, person).values(id=user_id, **blank, **times)
    await connection.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
