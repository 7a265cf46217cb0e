"""A move between places: counted, copied, proved, and only then removed, as often as it is begun anew."""

import itertools
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition
from services.storage.backends import House, opened
from services.storage.backends.local import LocalFiles
from services.storage.backends.pair import Pair
from services.storage.core.migration import Migration, Step
from services.storage.core.register import is_kept, label_of
from services.storage.core.tally import Problem
from services.storage.model import StoredObject
from services.storage.ports import Backend
from services.storage.settings import StorageSettings
from services.storage.stores.sql import SqlObjects
from tests.s3_engine import S3Server
from tests.storage.buckets import in_bucket
from tests.storage.core.test_verification import last
from tests.storage.interleaving import Steps
from tests.storage.samples import picture

KEYS = tuple(f"uploads/{number}.png" for number in range(20))
OTHERS = {"local": "s3", "s3": "local"}


@pytest.fixture(params=sorted(OTHERS))
async def house(
    request: pytest.FixtureRequest, migrated: StorageSettings, s3_server: S3Server, store: SqlObjects
) -> AsyncIterator[House]:
    """The two places as one, in either order."""
    prepared = in_bucket(migrated, s3_server, storage_mode=request.param, storage_second_mode=OTHERS[request.param])
    async with opened(prepared, partial(label_of, store), partial(is_kept, store)) as house:
        yield house


@pytest.fixture
def modes(house: House) -> tuple[str, str]:
    target, source = house.places
    return target, source


@pytest.fixture
async def source(house: House, modes: tuple[str, str], store: SqlObjects) -> Backend:
    """The second place, with twenty objects and one that older systems left."""
    source = house.places[modes[1]]
    for key in KEYS:
        await lie(source, key, picture(seed=key), store)
    await lie(source, "kie-downloads/old.png", picture(seed="old"))
    return source


async def lie(backend: Backend, key: str, body: bytes, store: SqlObjects | None = None) -> None:
    async with backend.draft() as draft:
        await draft.write(body)
        assert await backend.put(key, draft)
        if store:
            await store.add(StoredObject(key, "image/png", draft.size, draft.sha256, "upload"))


async def content(backend: Backend, key: str) -> bytes:
    return b"".join([chunk async for chunk in backend.read(key, 0, 0)])


async def keys(backend: Backend) -> list[str]:
    return [listed.key async for listed in backend.keys("")]


@pytest.mark.usefixtures("source")
async def test_a_dry_run_counts_and_changes_nothing(house: House, modes: tuple[str, str], store: SqlObjects) -> None:
    progress, found = await last(Migration(house.places, store).run(modes[0], Step.DRY_RUN))

    assert not found
    assert (progress.total_count, progress.done_count, progress.changed_count) == (21, 21, 21)
    assert progress.changed_bytes == progress.total_bytes == 21 * 2000
    assert await keys(house.places[modes[0]]) == []


async def test_copying_brings_everything_and_repeating_it_changes_nothing(
    house: House, modes: tuple[str, str], source: Backend, store: SqlObjects
) -> None:
    migration, target = Migration(house.places, store), house.places[modes[0]]
    first, _ = await last(migration.run(modes[0], Step.COPY))
    second, found = await last(migration.run(modes[0], Step.COPY))

    assert (first.changed_count, second.changed_count, found) == (21, 0, {})
    assert await keys(target) == await keys(source)
    assert all([await content(target, key) == picture(seed=key) for key in KEYS])


async def test_only_what_the_target_holds_byte_for_byte_is_removed_from_the_source(
    house: House, modes: tuple[str, str], source: Backend, store: SqlObjects
) -> None:
    migration, target = Migration(house.places, store), house.places[modes[0]]
    await last(migration.run(modes[0], Step.COPY))
    await target.delete(KEYS[0])
    await target.delete(KEYS[1])
    await lie(target, KEYS[1], picture(seed="another"))
    progress, found = await last(migration.run(modes[0], Step.DELETE_SOURCE))

    assert found == {KEYS[0]: Problem.NOT_IN_TARGET, KEYS[1]: Problem.TARGET_DIFFERS}
    assert progress.changed_count == 19
    assert await keys(source) == list(KEYS[:2])
    assert await content(house.backend, KEYS[5]) == picture(seed=KEYS[5])


async def test_damaged_bytes_do_not_spread_and_other_bytes_are_not_overwritten(
    house: House, modes: tuple[str, str], source: Backend, store: SqlObjects
) -> None:
    target = house.places[modes[0]]
    await source.delete(KEYS[0])
    await lie(source, KEYS[0], picture(seed="damaged"))
    await lie(target, KEYS[1], picture(seed="another"))
    progress, found = await last(Migration(house.places, store).run(modes[0], Step.COPY))

    assert found == {KEYS[0]: Problem.HASH_DIFFERS, KEYS[1]: Problem.TARGET_DIFFERS}
    assert progress.problem_count == 2
    assert await target.size(KEYS[0]) is None
    assert await content(target, KEYS[1]) == picture(seed="another")


async def test_guests_are_told_until_they_are_home(
    house: House, modes: tuple[str, str], source: Backend, store: SqlObjects
) -> None:
    await lie(source, "guests/uploads/late.png", picture(seed="late"))
    _, found = await last(Migration(house.places, store).run(modes[0], Step.DELETE_SOURCE))

    assert found["guests/uploads/late.png"] is Problem.NOT_HOME_YET
    assert "guests/uploads/late.png" in await keys(source)


async def test_a_move_that_is_not_prepared_is_refused_with_what_to_do(
    house: House, modes: tuple[str, str], store: SqlObjects, tmp_path: Path
) -> None:
    for places, mode in ((house.places, modes[1]), ({"local": LocalFiles(tmp_path)}, "s3")):
        with pytest.raises(FailedPrecondition, match="STORAGE_SECOND_MODE") as refusal:
            await last(Migration(places, store).run(mode, Step.DRY_RUN))
        assert refusal.value.reason == "MOVE_NOT_PREPARED"


async def test_a_deletion_at_each_await_of_a_copy_leaves_nothing(tmp_path: Path, store: SqlObjects) -> None:
    """With a row and without one, as older systems left it."""
    for key in (KEYS[0], "kie-downloads/old.png"):
        for at in itertools.count(1):
            target, source = LocalFiles(tmp_path / f"{key}-{at}-to"), LocalFiles(tmp_path / f"{key}-{at}-from")
            await lie(source, key, picture(), store if key == KEYS[0] else None)
            await target.ping()
            pair = Pair(target, source, partial(label_of, store), partial(is_kept, store))

            async def act(pair: Pair = pair, key: str = key) -> None:
                await store.bury(key)
                await pair.delete(key)
                await store.swept(key)

            steps = Steps(at, act)
            places = {"s3": steps.around(target), "local": steps.around(source)}
            await last(Migration(places, steps.around(store)).run("s3", Step.COPY))
            if not steps.reached:
                await act()
                break
            assert [listed.key async for listed in pair.keys("")] == [], (key, at)

        assert at > 10
