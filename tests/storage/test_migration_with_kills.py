"""A short run of `tests.storage.migration_with_kills`."""

from pathlib import Path

from tests.storage.migration_with_kills import move, with_two_backends
from tests.support.postgres import Postgres
from tests.support.s3 import S3Server

OBJECTS, KILLS = 200, 2


async def test_a_move_that_is_killed_again_and_again_ends_complete_and_no_link_ever_breaks(
    tmp_path: Path, s3_server: S3Server, postgres_server: Postgres
) -> None:
    outcome = await move(with_two_backends(tmp_path, s3_server), OBJECTS, KILLS, postgres_server.create_database())

    assert outcome.broken == []
    assert outcome.reads > 0
    assert len(outcome.runs) == KILLS + 1
    assert outcome.runs[-1].complete
    assert 0 < outcome.runs[-1].changed_count < OBJECTS
    assert outcome.runs[-1].problem_count == 0
    assert outcome.removed.changed_count == OBJECTS
    assert (outcome.verified.done_count, outcome.verified.problem_count) == (OBJECTS, 0)
