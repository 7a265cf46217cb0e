"""Two places as one: what is read where, who hosts guests, and how they come home."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from services.chassis.errors import KawaiiError, Unavailable
from services.storage.backends.local import LocalFiles
from services.storage.backends.pair import GUESTS, Pair
from services.storage.model import UNLABELLED, Label, Stat
from services.storage.ports import Backend
from tests.storage.samples import picture

KEY = "uploads/a.png"


class Breakable(LocalFiles):
    """A folder that can be taken away and given back, as a mount is; nothing else of it is pretended."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[tuple[str, Label]] = []

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

    async def put(self, key: str, draft: object, label: Label = UNLABELLED) -> bool:
        self.asked.append((key, label))
        return await super().put(key, draft, label)  # type: ignore[arg-type] # as it came

    async def size(self, key: str) -> int | None:
        if self._root.is_symlink():
            raise Unavailable("The folder is away.", "STORAGE_DOWN", retry_after=1)
        return await super().size(key)


@pytest.fixture
async def first(tmp_path: Path) -> Breakable:
    place = Breakable(tmp_path / "first")
    await place.ping()
    return place


@pytest.fixture
def second(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "second")


@pytest.fixture
def pair(first: Breakable, second: LocalFiles) -> Pair:
    async def label_of(key: str) -> Label:
        return Label("image/png", original_name=key)

    return Pair(first, second, label_of)


async def put(backend: Backend, body: bytes, key: str = KEY) -> bool:
    async with backend.draft() as draft:
        await draft.write(body)
        return await backend.put(key, draft)


async def content(backend: Backend, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in backend.read(key, 0, 0)])


async def keys(found: AsyncIterator[object]) -> list[str]:
    return [listed.key async for listed in found]  # type: ignore[attr-defined] # Listed


async def test_new_objects_go_to_the_first_place_only(pair: Pair, first: Breakable, second: LocalFiles) -> None:
    await put(pair, picture())

    assert await first.size(KEY)
    assert await keys(second.keys("")) == []


async def test_what_only_the_second_has_is_read_from_there(pair: Pair, second: LocalFiles) -> None:
    await put(second, picture())

    assert await content(pair) == picture()
    assert await pair.size(KEY) == 2000
    assert await pair.stat(KEY) == await second.stat(KEY)
    assert await pair.path(KEY) == await second.path(KEY)
    assert await keys(pair.keys("")) == [KEY]


async def test_a_key_of_the_second_place_cannot_be_taken_in_the_first(pair: Pair, second: LocalFiles) -> None:
    await put(second, picture(seed="old"))

    assert not await put(pair, picture(seed="new"))
    assert await put(pair, picture(seed="old"))


async def test_while_the_first_is_down_the_second_hosts_and_everything_stays_readable(
    pair: Pair, first: Breakable, second: LocalFiles
) -> None:
    await put(pair, picture(seed="before"), "uploads/before.png")
    first.break_()

    assert await put(pair, picture())
    assert await put(pair, picture())
    assert not await put(pair, picture(seed="other"))
    assert await content(pair) == picture()
    assert await keys(second.keys("")) == [GUESTS + KEY]
    with pytest.raises(KawaiiError) as failure:
        await pair.size("uploads/before.png")
    assert failure.value.reason == "STORAGE_DOWN"


async def test_a_first_place_that_failed_rests_and_is_asked_again(
    pair: Pair, first: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    first.break_()
    await put(pair, picture(), "uploads/1.png")
    await put(pair, picture(), "uploads/2.png")
    assert [key for key, _ in first.asked] == ["uploads/1.png"]

    first.mend()
    monkeypatch.setattr(pair, "_rests_until", 0.0)
    await put(pair, picture(), "uploads/3.png")
    assert await first.size("uploads/3.png")


async def test_guests_come_home_with_their_label_and_leave_only_when_their_copy_is_proven(
    pair: Pair, first: Breakable, second: LocalFiles
) -> None:
    first.break_()
    bodies = {f"uploads/{number}.png": picture(seed=str(number), size=300_000 + number) for number in range(20)}
    for key, body in bodies.items():
        assert await put(pair, body, key)
    first.mend()
    first.asked.clear()

    restarted = Pair(first, second, pair._label_of)
    await restarted.bring_home()
    assert sorted(first.asked) == sorted((key, Label("image/png", original_name=key)) for key in bodies)
    assert len(await keys(second.keys(GUESTS))) == 20
    assert await keys(pair.keys("uploads/")) == sorted(bodies)
    await pair.bring_home()
    assert await keys(second.keys("")) == []
    for key, body in bodies.items():
        assert await content(pair, key) == body
        assert await content(first, key) == body


async def test_a_guest_whose_place_was_taken_stays_and_is_told(
    pair: Pair, first: Breakable, second: LocalFiles
) -> None:
    await put(second, picture(seed="guest"), GUESTS + KEY)
    await put(first, picture(seed="home"))
    with structlog.testing.capture_logs() as lines:
        await pair.bring_home()

    assert [line["event"] for line in lines] == ["guest_differs"]
    assert await second.stat(GUESTS + KEY) is not None
    assert await content(pair) == picture(seed="home")


async def test_deleting_removes_it_from_both(pair: Pair, first: Breakable, second: LocalFiles) -> None:
    for backend, key in ((first, KEY), (second, KEY), (second, GUESTS + KEY)):
        await put(backend, picture(), key)
    await pair.delete(KEY)

    assert await keys(pair.keys("")) == []


async def test_it_is_well_while_both_are(pair: Pair, first: Breakable) -> None:
    await pair.ping()
    first.break_()

    with pytest.raises(KawaiiError):
        await pair.ping()


async def test_each_key_is_listed_once_with_the_first_places_word(
    pair: Pair, first: Breakable, second: LocalFiles
) -> None:
    for number, backend in enumerate((first, second, first, second)):
        await put(backend, picture(size=100 + number), f"uploads/{number}.png")
    await put(second, picture(size=500), "uploads/0.png")

    assert [(found.key, found.size) async for found in pair.keys("uploads/")] == [
        (f"uploads/{number}.png", 100 + number) for number in range(4)
    ]
    assert await pair.stat("uploads/0.png") == Stat(100, (await first.stat("uploads/0.png")).sha256)  # type: ignore[union-attr] # it is there
