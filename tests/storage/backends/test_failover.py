"""The failover backend: where reads and writes go, and how failover copies return to the first backend."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest
import structlog

from services.chassis.errors import KawaiiError, Unavailable
from services.storage.backends.circuit_breaker import TimeLimits
from services.storage.backends.disk import SpoolFile, full
from services.storage.backends.failover import FAILOVER_PREFIX, FailoverBackend
from services.storage.backends.local import LocalFiles
from services.storage.model import NO_METADATA, ObjectMetadata, Stat
from services.storage.ports import Backend
from tests.storage.interleaving import Steps
from tests.storage.samples import picture

KEY = "uploads/a.png"


class Breakable(LocalFiles):
    """A folder that can be taken away and given back, as a mount is; nothing else of it is pretended."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.puts: list[tuple[str, ObjectMetadata]] = []

    def break_(self) -> None:
        """Put a link that leads nowhere where the folder was: nothing can be opened below it."""
        self._root.rename(self._away)
        self._root.symlink_to(self._root)

    def mend(self) -> None:
        self._root.unlink()
        self._away.rename(self._root)

    @property
    def _away(self) -> Path:
        return self._root.with_name("away")

    async def put(self, key: str, spool: object, metadata: ObjectMetadata = NO_METADATA) -> bool:
        self.puts.append((key, metadata))
        return await super().put(key, spool, metadata)  # type: ignore[arg-type] # as it came

    async def size(self, key: str) -> int | None:
        if self._root.is_symlink():
            raise Unavailable("The folder is away.", "STORAGE_DOWN", retry_after=1)
        return await super().size(key)


@pytest.fixture
async def first(tmp_path: Path) -> Breakable:
    backend = Breakable(tmp_path / "first")
    await backend.ping()
    return backend


@pytest.fixture
def second(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "second")


@pytest.fixture
def failover(first: Breakable, second: LocalFiles) -> FailoverBackend:
    async def metadata_of(key: str) -> ObjectMetadata:
        return ObjectMetadata("image/png", source=key)

    return FailoverBackend(first, second, metadata_of, rowless, TimeLimits(pause=0.0))


async def rowless(key: str) -> bool:
    """No key has a row."""
    return not key


async def put(backend: Backend, body: bytes, key: str = KEY) -> bool:
    async with backend.spool() as spool:
        await spool.write(body)
        return await backend.put(key, spool)


async def content(backend: Backend, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in backend.read(key, 0, 0)])


async def keys(found: AsyncIterator[object]) -> list[str]:
    return [listed.key async for listed in found]  # type: ignore[attr-defined] # Listed


async def test_new_objects_go_to_the_first_backend_only(
    failover: FailoverBackend, first: Breakable, second: LocalFiles
) -> None:
    await put(failover, picture())

    assert await first.size(KEY)
    assert await keys(second.keys("")) == []


async def test_what_only_the_second_has_is_read_from_there(failover: FailoverBackend, second: LocalFiles) -> None:
    await put(second, picture())

    assert await content(failover) == picture()
    assert await failover.size(KEY) == 2000
    assert await failover.stat(KEY) == await second.stat(KEY)
    assert await failover.path(KEY) == await second.path(KEY)
    assert await keys(failover.keys("")) == [KEY]


async def test_a_key_of_the_second_backend_cannot_be_taken_in_the_first(
    failover: FailoverBackend, second: LocalFiles
) -> None:
    await put(second, picture(seed="old"))

    assert not await put(failover, picture(seed="new"))
    assert await put(failover, picture(seed="old"))


async def test_while_the_first_is_down_the_second_takes_writes_and_everything_stays_readable(
    failover: FailoverBackend, first: Breakable, second: LocalFiles
) -> None:
    await put(failover, picture(seed="before"), "uploads/before.png")
    first.break_()

    assert await put(failover, picture())
    assert await put(failover, picture())
    assert not await put(failover, picture(seed="other"))
    assert await content(failover) == picture()
    assert await keys(second.keys("")) == [FAILOVER_PREFIX + KEY]
    with pytest.raises(KawaiiError) as failure:
        await failover.size("uploads/before.png")
    assert failure.value.reason == "STORAGE_DOWN"


async def test_a_first_backend_that_failed_is_called_again_after_a_pause(
    failover: FailoverBackend, first: Breakable, second: LocalFiles
) -> None:
    now = [100.0]
    failover = FailoverBackend(first, second, failover._metadata_of, rowless, TimeLimits(clock=lambda: now[0]))
    first.break_()
    await put(failover, picture(), "uploads/1.png")
    await put(failover, picture(), "uploads/2.png")
    assert [key for key, _ in first.puts] == ["uploads/1.png"]

    first.mend()
    now[0] += TimeLimits().pause
    await put(failover, picture(), "uploads/3.png")
    assert await first.size("uploads/3.png")


async def test_failover_copies_return_with_their_metadata_and_are_deleted_only_when_verified(
    failover: FailoverBackend, first: Breakable, second: LocalFiles
) -> None:
    first.break_()
    bodies = {f"uploads/{number}.png": picture(seed=str(number), size=300_000 + number) for number in range(20)}
    for key, body in bodies.items():
        assert await put(failover, body, key)
    first.mend()
    first.puts.clear()

    restarted = FailoverBackend(first, second, failover._metadata_of, rowless)
    await restarted.fail_back()
    assert sorted(first.puts) == sorted((key, ObjectMetadata("image/png", source=key)) for key in bodies)
    assert len(await keys(second.keys(FAILOVER_PREFIX))) == 20
    assert await keys(failover.keys("uploads/")) == sorted(bodies)
    await failover.fail_back()
    assert await keys(second.keys("")) == []
    for key, body in bodies.items():
        assert await content(failover, key) == body
        assert await content(first, key) == body


async def test_a_failover_copy_whose_key_was_taken_stays_and_is_logged(
    failover: FailoverBackend, first: Breakable, second: LocalFiles
) -> None:
    await put(second, picture(seed="copy"), FAILOVER_PREFIX + KEY)
    await put(first, picture(seed="home"))
    with structlog.testing.capture_logs() as lines:
        await failover.fail_back()

    assert [line["event"] for line in lines] == ["failover_copy_differs"]
    assert await second.stat(FAILOVER_PREFIX + KEY) is not None
    assert await content(failover) == picture(seed="home")


async def test_deleting_removes_it_from_both(failover: FailoverBackend, first: Breakable, second: LocalFiles) -> None:
    for backend, key in ((first, KEY), (second, KEY), (second, FAILOVER_PREFIX + KEY)):
        await put(backend, picture(), key)
    await failover.delete(KEY)

    assert await keys(failover.keys("")) == []


async def test_it_is_well_while_both_are(failover: FailoverBackend, first: Breakable) -> None:
    await failover.ping()
    first.break_()

    with pytest.raises(KawaiiError):
        await failover.ping()


async def test_each_key_is_listed_once_as_the_first_backend_has_it(
    failover: FailoverBackend, first: Breakable, second: LocalFiles
) -> None:
    for number, backend in enumerate((first, second, first, second)):
        await put(backend, picture(size=100 + number), f"uploads/{number}.png")
    await put(second, picture(size=500), "uploads/0.png")

    assert [(found.key, found.size) async for found in failover.keys("uploads/")] == [
        (f"uploads/{number}.png", 100 + number) for number in range(4)
    ]
    assert await failover.stat("uploads/0.png") == Stat(100, (await first.stat("uploads/0.png")).sha256)  # type: ignore[union-attr] # it is there


class Odd(LocalFiles):
    """A folder that is silent, slow or full on demand, and counts how often it is called."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.mood = "well"
        self.calls = 0

    async def _called(self) -> None:
        self.calls += 1
        if self.mood == "silent":
            await asyncio.Event().wait()
        if self.mood == "slow":
            await asyncio.sleep(0.01)

    async def put(self, key: str, spool: object, metadata: ObjectMetadata = NO_METADATA) -> bool:
        await self._called()
        if self.mood == "full":
            raise full()
        return await super().put(key, spool, metadata)  # type: ignore[arg-type] # as it came

    async def size(self, key: str) -> int | None:
        await self._called()
        return await super().size(key)

    async def stat(self, key: str) -> Stat | None:
        await self._called()
        return await super().stat(key)

    async def delete(self, key: str) -> None:
        await self._called()
        await super().delete(key)


SHORT = {"call": 2.0, "put": 2.0}  # for a silent backend; one that works answers sooner even on a busy machine


def odd_failover(tmp_path: Path, now: list[float]) -> tuple[FailoverBackend, Odd, Odd]:
    first, second = Odd(tmp_path / "first"), Odd(tmp_path / "second")

    async def metadata_of(key: str) -> ObjectMetadata:
        return ObjectMetadata(source=key)

    return (
        FailoverBackend(first, second, metadata_of, rowless, TimeLimits(**SHORT, clock=lambda: now[0])),
        first,
        second,
    )


@pytest.mark.parametrize("mood", ["silent", "slow", "full"])
@pytest.mark.parametrize("number", [0, 1])
async def test_uploads_and_reads_go_on_while_a_backend_is_silent_slow_or_full(
    tmp_path: Path, number: int, mood: str
) -> None:
    now = [100.0]
    failover, *both = odd_failover(tmp_path, now)
    odd, other = both[number], both[1 - number]
    odd.mood = mood
    bodies = {f"uploads/{each}.png": picture(seed=str(each)) for each in range(10)}
    for key, body in bodies.items():
        assert await put(failover, body, key)
        assert await content(failover, key) == body

    if mood == "silent":
        assert odd.calls <= 2  # at first, both of its names at once; then it rests
        assert await keys(other.keys("")) == sorted(f"{FAILOVER_PREFIX if number == 0 else ''}{key}" for key in bodies)
    if mood == "full" and number == 0:
        assert await keys(odd.keys("")) == []
    odd.mood = "well"
    now[0] += TimeLimits().pause * 2
    await put(failover, picture(seed="later"), "uploads/later.png")
    await failover.fail_back()
    await failover.fail_back()
    assert await keys(both[0].keys("")) == sorted([*bodies, "uploads/later.png"])
    assert await keys(both[1].keys("")) == []


ENDLESS = 1e6  # seconds: whatever waits for a silent backend for its own sake does not come to an end
HANGS_SECONDS = 60.0


async def test_an_object_of_the_second_backend_is_read_without_waiting_for_a_silent_first(tmp_path: Path) -> None:
    _, first, second = odd_failover(tmp_path, [100.0])
    failover = FailoverBackend(first, second, metadata, rowless, TimeLimits(hedge=0.01, call=ENDLESS))
    await put(second, picture(), "uploads/own.png")
    await put(second, picture(), f"{FAILOVER_PREFIX}uploads/copy.png")
    first.mood = "silent"
    async with asyncio.timeout(HANGS_SECONDS):
        for key in ("uploads/own.png", "uploads/copy.png"):
            assert await failover.size(key) == 2000
            assert await failover.stat(key) == Stat(2000, hashlib.sha256(picture()).hexdigest())
            assert await content(failover, key) == picture()


async def test_a_first_backend_that_answers_late_still_counts_before_the_second(tmp_path: Path) -> None:
    failover, first, second = odd_failover(tmp_path, [100.0])
    failover = FailoverBackend(first, second, metadata, rowless, TimeLimits(hedge=0.0, call=ENDLESS))
    first.mood = "slow"
    await put(first, picture())
    second.mood = "silent"
    async with asyncio.timeout(HANGS_SECONDS):
        assert await content(failover) == picture()


async def test_a_silent_first_backend_is_found_before_an_upload_is_put_there(tmp_path: Path) -> None:
    """A put may take as long as its bytes; a question may not."""
    _, first, second = odd_failover(tmp_path, [100.0])
    failover = FailoverBackend(first, second, metadata, rowless, TimeLimits(call=0.05, put=ENDLESS))
    first.mood = "silent"
    async with asyncio.timeout(HANGS_SECONDS):
        assert await put(failover, picture())
        assert await put(failover, picture(seed="b"), "uploads/b.png")

    assert await keys(second.keys("")) == [f"{FAILOVER_PREFIX}uploads/a.png", f"{FAILOVER_PREFIX}uploads/b.png"]
    assert first.calls == 1


async def test_a_backend_that_answers_is_not_probed_before_each_upload(tmp_path: Path) -> None:
    failover, first, _ = odd_failover(tmp_path, [100.0])
    for number in range(3):
        await put(failover, picture(seed=str(number)), f"uploads/{number}.png")

    assert first.calls == 4  # one question, three puts


async def test_both_silent_backends_are_waited_for_at_once(tmp_path: Path) -> None:
    _, first, second = odd_failover(tmp_path, [100.0])
    failover = FailoverBackend(first, second, metadata, rowless, TimeLimits(hedge=0.01, call=0.2))
    first.mood = second.mood = "silent"
    async with asyncio.timeout(HANGS_SECONDS):
        with pytest.raises(Unavailable):
            await failover.size(KEY)

    assert (first.calls, second.calls) == (1, 2)
    for backend in failover._breakers:
        assert not backend.takes_puts


@pytest.mark.parametrize("mood", ["silent", "slow", "full"])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("held", [0, 1])
async def test_each_read_ends_while_a_backend_is_silent_slow_or_full(
    tmp_path: Path, number: int, held: int, mood: str
) -> None:
    """An object of the other backend is answered; one that only the silent backend holds is away, never missing."""
    _, *both = odd_failover(tmp_path, [100.0])
    failover = FailoverBackend(both[0], both[1], metadata, rowless, TimeLimits(hedge=0.01, call=1.0, put=1.0))
    await put(both[held], picture())
    both[number].mood = mood
    away = mood == "silent" and held == number
    async with asyncio.timeout(HANGS_SECONDS):
        for read in (failover.size, failover.stat, lambda key: content(failover, key)):
            if away:
                with pytest.raises(Unavailable):
                    await read(KEY)
            else:
                assert await read(KEY)
        if mood == "silent":
            with pytest.raises(Unavailable):  # the object is not missing while a backend may still hold it
                await failover.delete(KEY)
        else:
            await failover.delete(KEY)
            assert await failover.size(KEY) is None


async def test_after_a_caller_left_a_silent_backend_is_not_called_by_all(tmp_path: Path) -> None:
    now = [100.0]
    failover, first, _ = odd_failover(tmp_path, now)
    first.mood = "silent"
    with pytest.raises(Unavailable):
        await failover.size(KEY)
    now[0] += TimeLimits().pause * 2
    trying = asyncio.create_task(failover._breakers[0].call(lambda: first.size(KEY)))
    await asyncio.sleep(0)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    calls = first.calls
    await asyncio.gather(*(failover.size(f"uploads/{each}.png") for each in range(20)), return_exceptions=True)

    assert first.calls == calls + 1


async def test_a_backend_that_timed_out_is_probed_by_one_call_at_a_time(tmp_path: Path) -> None:
    now = [100.0]
    failover, first, _ = odd_failover(tmp_path, now)
    await put(failover, picture())
    first.mood = "silent"
    with pytest.raises(Unavailable):
        await failover.size("uploads/none.png")
    calls = first.calls
    now[0] += TimeLimits().pause
    await asyncio.gather(*(failover.size(f"uploads/{each}.png") for each in range(50)), return_exceptions=True)

    assert first.calls == calls + 1
    first.mood = "well"
    now[0] += TimeLimits().pause * 2
    assert await failover.size(KEY) == 2000


async def test_an_upload_moves_when_the_first_backend_fills_up_in_its_middle(tmp_path: Path) -> None:
    class Filling(LocalFiles):
        @asynccontextmanager
        async def spool(self) -> AsyncIterator[SpoolFile]:  # type: ignore[override] # the same, by another way
            async with super().spool() as spool:
                write = spool.write

                async def written(chunk: bytes) -> None:
                    if spool.size + len(chunk) > 1000:
                        await write(chunk[:10])
                        spool.size -= 10  # a disk takes a part before it says that it is full
                        raise full()
                    await write(chunk)

                spool.write = written  # type: ignore[method-assign] # as a disk would
                yield spool

    first, second = Filling(tmp_path / "first"), LocalFiles(tmp_path / "second")
    failover = FailoverBackend(first, second, metadata, rowless)
    body = picture(size=5000)
    async with failover.spool() as spool:
        for start in range(0, len(body), 700):
            await spool.write(body[start : start + 700])
        assert (spool.size, spool.sha256) == (5000, hashlib.sha256(body).hexdigest())
        assert spool.head == body[:16]
        assert await failover.put(KEY, spool)

    assert await content(failover) == body


async def metadata(key: str) -> ObjectMetadata:
    return ObjectMetadata(source=key)


async def test_one_failover_copy_that_cannot_be_read_does_not_block_the_others(tmp_path: Path) -> None:
    class Spoilt(LocalFiles):
        async def stat(self, key: str) -> Stat | None:
            if key.endswith("b.png"):
                raise Unavailable("A bad sector.", "STORAGE_DOWN")
            return await super().stat(key)

    first, second = LocalFiles(tmp_path / "first"), Spoilt(tmp_path / "second")
    for name in "abc":
        await put(second, picture(seed=name), f"{FAILOVER_PREFIX}uploads/{name}.png")
    await first.ping()
    await FailoverBackend(first, second, metadata, rowless).fail_back()

    assert await keys(first.keys("")) == ["uploads/a.png", "uploads/c.png"]


@pytest.mark.parametrize(("bad", "raised", "copied"), [("bcef", False, "adg"), ("bcd", True, "a")])
async def test_only_failover_copies_that_fail_one_after_the_other_end_a_round(
    tmp_path: Path, bad: str, copied: str, *, raised: bool
) -> None:
    class Spoilt(LocalFiles):
        async def stat(self, key: str) -> Stat | None:
            if key.removesuffix(".png")[-1] in bad:
                raise Unavailable("A bad sector.", "STORAGE_DOWN")
            return await super().stat(key)

    first, second = LocalFiles(tmp_path / "first"), Spoilt(tmp_path / "second")
    for name in "abcdefg":
        await put(second, picture(seed=name), f"{FAILOVER_PREFIX}uploads/{name}.png")
    await first.ping()
    with pytest.raises(Unavailable) if raised else nullcontext():
        await FailoverBackend(first, second, metadata, rowless).fail_back()

    assert await keys(first.keys("")) == [f"uploads/{name}.png" for name in copied]


async def test_a_deletion_at_each_await_of_a_fail_back_leaves_nothing(tmp_path: Path) -> None:
    for at in itertools.count(1):
        first, second = LocalFiles(tmp_path / f"{at}-first"), LocalFiles(tmp_path / f"{at}-second")
        await put(second, picture(), FAILOVER_PREFIX + KEY)
        await first.ping()
        steps = Steps(
            at, lambda first=first, second=second: FailoverBackend(first, second, metadata, rowless).delete(KEY)
        )  # type: ignore[misc] # bound now
        await FailoverBackend(steps.around(first), steps.around(second), metadata, rowless).fail_back()
        if not steps.reached:
            break
        assert await keys(first.keys("")) == await keys(second.keys("")) == [], at

    assert at > 8
    assert await keys(first.keys("")) == [KEY]


async def test_a_fail_back_at_each_await_of_a_deletion_leaves_nothing(tmp_path: Path) -> None:
    for at in itertools.count(1):
        first, second = LocalFiles(tmp_path / f"{at}-first"), LocalFiles(tmp_path / f"{at}-second")
        await put(second, picture(), FAILOVER_PREFIX + KEY)
        await first.ping()
        steps = Steps(
            at, lambda first=first, second=second: FailoverBackend(first, second, metadata, rowless).fail_back()
        )  # type: ignore[misc] # bound now
        await FailoverBackend(steps.around(first), steps.around(second), metadata, rowless).delete(KEY)
        assert await keys(first.keys("")) == await keys(second.keys("")) == [], at
        if not steps.reached:
            break

    assert at > 5
