"""Migration between backends: counted, copied, verified, and only then deleted, however often it is started again."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition
from services.storage.backends import OpenedBackends, open_backends
from services.storage.backends.failover import FailoverBackend
from services.storage.backends.local import LocalFiles
from services.storage.core.object_migration import ObjectMigration, Step
from services.storage.core.registration import is_kept, metadata_of
from services.storage.core.scan import Problem
from services.storage.model import ObjectMetadata, StoredObject
from services.storage.ports import Backend
from services.storage.settings import StorageSettings
from tests.storage.buckets import in_bucket
from tests.storage.core.test_verification import last
from tests.storage.interleaving import Steps
from tests.storage.samples import picture
from tests.support.awaited import Awaited
from tests.support.s3 import S3Server

KEYS = tuple(f"uploads/{number}.png" for number in range(20))
OTHERS = {"local": "s3", "s3": "local"}


def asking(store: Awaited) -> tuple[Callable[[str], Awaitable[ObjectMetadata]], Callable[[str], Awaitable[bool]]]:
    """How backends ask for the row of a key."""
    of = store.database, store.functions
    return partial(metadata_of, *of), partial(is_kept, *of)


@pytest.fixture(params=sorted(OTHERS))
async def backends(
    request: pytest.FixtureRequest, migrated: StorageSettings, s3_server: S3Server, store: Awaited
) -> AsyncIterator[OpenedBackends]:
    """The failover backend, in either order."""
    prepared = in_bucket(migrated, s3_server, storage_mode=request.param, storage_second_mode=OTHERS[request.param])
    async with open_backends(prepared, *asking(store)) as backends:
        yield backends


@pytest.fixture
def modes(backends: OpenedBackends) -> tuple[str, str]:
    target, source = backends.by_mode
    return target, source


@pytest.fixture
async def source(backends: OpenedBackends, modes: tuple[str, str], store: Awaited) -> Backend:
    """The second backend, with twenty objects and one of an older system."""
    source = backends.by_mode[modes[1]]
    for key in KEYS:
        await lie(source, key, picture(seed=key), store)
    await lie(source, "kie-downloads/old.png", picture(seed="old"))
    return source


async def lie(backend: Backend, key: str, body: bytes, store: Awaited | None = None) -> None:
    async with backend.spool() as spool:
        await spool.write(body)
        assert await backend.put(key, spool)
        if store:
            await store.add(StoredObject(key, "image/png", spool.size, spool.sha256, "upload"))


def migrating(backends: OpenedBackends, store: Awaited) -> ObjectMigration:
    return ObjectMigration(backends.by_mode, store.database, store.functions)


async def content(backend: Backend, key: str) -> bytes:
    return b"".join([chunk async for chunk in backend.read(key, 0, 0)])


async def keys(backend: Backend) -> list[str]:
    return [listed.key async for listed in backend.keys("")]


@pytest.mark.usefixtures("source")
async def test_a_dry_run_counts_and_changes_nothing(
    backends: OpenedBackends, modes: tuple[str, str], store: Awaited
) -> None:
    progress, found = await last(migrating(backends, store).run(modes[0], Step.DRY_RUN))

    assert not found
    assert (progress.total_count, progress.done_count, progress.changed_count) == (21, 21, 21)
    assert progress.changed_bytes == progress.total_bytes == 21 * 2000
    assert await keys(backends.by_mode[modes[0]]) == []


async def test_copying_brings_everything_and_repeating_it_changes_nothing(
    backends: OpenedBackends, modes: tuple[str, str], source: Backend, store: Awaited
) -> None:
    migration, target = migrating(backends, store), backends.by_mode[modes[0]]
    first, _ = await last(migration.run(modes[0], Step.COPY))
    second, found = await last(migration.run(modes[0], Step.COPY))

    assert (first.changed_count, second.changed_count, found) == (21, 0, {})
    assert await keys(target) == await keys(source)
    assert all([await content(target, key) == picture(seed=key) for key in KEYS])


async def test_only_what_the_target_holds_byte_for_byte_is_removed_from_the_source(
    backends: OpenedBackends, modes: tuple[str, str], source: Backend, store: Awaited
) -> None:
    migration, target = migrating(backends, store), backends.by_mode[modes[0]]
    await last(migration.run(modes[0], Step.COPY))
    await target.delete(KEYS[0])
    await target.delete(KEYS[1])
    await lie(target, KEYS[1], picture(seed="another"))
    progress, found = await last(migration.run(modes[0], Step.DELETE_SOURCE))

    assert found == {KEYS[0]: Problem.NOT_IN_TARGET, KEYS[1]: Problem.TARGET_DIFFERS}
    assert progress.changed_count == 19
    assert await keys(source) == list(KEYS[:2])
    assert await content(backends.backend, KEYS[5]) == picture(seed=KEYS[5])


async def test_damaged_bytes_do_not_spread_and_other_bytes_are_not_overwritten(
    backends: OpenedBackends, modes: tuple[str, str], source: Backend, store: Awaited
) -> None:
    target = backends.by_mode[modes[0]]
    await source.delete(KEYS[0])
    await lie(source, KEYS[0], picture(seed="damaged"))
    await lie(target, KEYS[1], picture(seed="another"))
    progress, found = await last(migrating(backends, store).run(modes[0], Step.COPY))

    assert found == {KEYS[0]: Problem.HASH_DIFFERS, KEYS[1]: Problem.TARGET_DIFFERS}
    assert progress.problem_count == 2
    assert await target.size(KEYS[0]) is None
    assert await content(target, KEYS[1]) == picture(seed="another")


async def test_failover_copies_are_reported_until_they_have_returned(
    backends: OpenedBackends, modes: tuple[str, str], source: Backend, store: Awaited
) -> None:
    await lie(source, "guests/uploads/late.png", picture(seed="late"))
    _, found = await last(migrating(backends, store).run(modes[0], Step.DELETE_SOURCE))

    assert found["guests/uploads/late.png"] is Problem.NOT_HOME_YET
    assert "guests/uploads/late.png" in await keys(source)


async def test_a_move_that_is_not_prepared_is_refused_with_what_to_do(
    backends: OpenedBackends, modes: tuple[str, str], store: Awaited, tmp_path: Path
) -> None:
    for by_mode, mode in ((backends.by_mode, modes[1]), ({"local": LocalFiles(tmp_path)}, "s3")):
        with pytest.raises(FailedPrecondition, match="STORAGE_SECOND_MODE") as refusal:
            await last(ObjectMigration(by_mode, store.database, store.functions).run(mode, Step.DRY_RUN))
        assert refusal.value.reason == "MOVE_NOT_PREPARED"


async def test_a_deletion_at_each_await_of_a_copy_leaves_nothing(tmp_path: Path, store: Awaited) -> None:
    """With a row and without one, as older systems left it."""
    for key in (KEYS[0], "kie-downloads/old.png"):
        for at in itertools.count(1):
            target, source = LocalFiles(tmp_path / f"{key}-{at}-to"), LocalFiles(tmp_path / f"{key}-{at}-from")
            await lie(source, key, picture(), store if key == KEYS[0] else None)
            await target.ping()
            failover = FailoverBackend(target, source, *asking(store))

            async def act(failover: FailoverBackend = failover, key: str = key) -> None:
                await store.begin_deletion(key)
                await failover.delete(key)
                await store.end_deletion(key)

            steps = Steps(at, act)
            by_mode = {"s3": steps.around(target), "local": steps.around(source)}
            await last(ObjectMigration(by_mode, steps.around(store.database), store.functions).run("s3", Step.COPY))
            if not steps.reached:
                await act()
                break
            assert [listed.key async for listed in failover.keys("")] == [], (key, at)

        assert at > 10
