"""`kawaii storage` as an operator types it, against a storage service of its own process."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.addresses import ListenPort
from tests.deploy.stacks import Stack, opened
from tests.storage.processes import parts
from tests.storage.samples import picture
from tests.support.s3 import S3Server

LONG_AGO = 1_700_000_000
WAITING = f"pending/1700000000000-{'0a' * 16}.png"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with opened(tmp_path / "data", ("storage",)) as stack:
        yield stack


async def kept(stack: Stack, seed: str) -> storagepb.Object:
    async with aio.insecure_channel(stack.settings.address(ListenPort.STORAGE)) as channel:
        return await storagerpc.StorageServiceStub(channel).UploadObject(parts(picture(seed=seed)))


def on_disk(stack: Stack, name: str) -> Path:
    return stack.folder / "objects" / name.removeprefix("objects/")


async def test_verify_names_what_is_wrong_and_exits_1(stack: Stack) -> None:
    sound, spoilt = [await kept(stack, seed) for seed in ("sound", "spoilt")]
    before = await stack.kawaii("storage", "verify", "--hash")
    on_disk(stack, spoilt.name).write_bytes(bytes(spoilt.size_bytes))
    quick = await stack.kawaii("storage", "verify")
    deep = await stack.kawaii("storage", "verify", "--hash", "-o", "json")

    assert (before.code, before.out) == (0, "2 objects (3.9 KiB) looked at, 0 wrong.\n")
    assert quick.code == 0
    finding, totals = deep.json
    assert deep.code == 1
    assert finding == {"name": spoilt.name, "problem": "PROBLEM_HASH_DIFFERS", "sizeBytes": "2000"}
    assert (totals["doneCount"], totals["problemCount"]) == (2, 1)
    assert sound.name not in deep.out


async def test_gc_names_first_and_removes_when_told(stack: Stack) -> None:
    row = await kept(stack, "sound")
    stray, theirs = on_disk(stack, WAITING), on_disk(stack, "generated/theirs.png")
    for path, body in ((stray, b"left"), (theirs, picture(seed="an older site"))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        os.utime(path, (LONG_AGO, LONG_AGO))
    looked = await stack.kawaii("storage", "gc")
    unsure = await stack.kawaii("storage", "gc", "--delete")
    there = stray.exists()
    swept = await stack.kawaii("storage", "gc", "--delete", "--yes")

    assert (looked.code, there) == (0, True)
    assert looked.out.splitlines() == [
        "NOT_OURS          2.0 KiB     generated/theirs.png",
        f"NOT_CONFIRMED     4 B         {WAITING}",
        "1 objects (4 B) could be removed with --delete; 1 are not ours and stay.",
    ]
    assert unsure.code == 1
    assert "1 objects (4 B) would be removed; 1 are not ours and stay." in unsure.err
    assert (swept.code, stray.exists(), theirs.exists()) == (0, False, True)
    assert swept.out.splitlines()[-1] == "1 objects (4 B) removed; 1 are not ours and stay."
    assert on_disk(stack, row.name).exists()


async def test_a_bucket_of_others_files_is_counted_with_a_few_examples_and_listed_when_asked(stack: Stack) -> None:
    theirs = [f"backups/{number:04}.tar" for number in range(300)]
    for key in theirs:
        path = on_disk(stack, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"theirs")
        os.utime(path, (LONG_AGO, LONG_AGO))
    short = await stack.kawaii("storage", "gc")
    collected = await stack.kawaii("storage", "gc", "-o", "json")
    full = await stack.kawaii("storage", "gc", "--list")

    assert [line.split()[-1] for line in short.out.splitlines()[:5]] == theirs[:5]
    assert short.out.splitlines()[5:] == [
        "NOT_OURS: 300 (1.8 KiB), 295 of them not shown: --list",
        "0 objects (0 B) could be removed with --delete; 300 are not ours and stay.",
    ]
    assert len(collected.json) == 6
    assert collected.json[-1]["problems"] == {"PROBLEM_NOT_OURS": {"count": 300, "bytes": 1800}}
    assert [line.split()[-1] for line in full.out.splitlines()[:-1]] == theirs


async def test_adopt_counts_asks_and_takes_pictures_in(stack: Stack) -> None:
    await kept(stack, "sound")
    body = picture(seed="an older site")
    for key, content in (("generated/generated_t1_0a1b2c3d.png", body), ("kie-downloads/notes.txt", b"words")):
        path = on_disk(stack, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
    unsure = await stack.kawaii("storage", "adopt")
    taken = await stack.kawaii("storage", "adopt", "--yes")
    again = await stack.kawaii("storage", "adopt", "--prefix", "generated/", "--yes")
    wrong = await stack.kawaii("storage", "adopt", "--prefix", "backups/", "--yes")

    assert unsure.code == 1
    assert "2 objects (2.0 KiB) have no row" in unsure.err
    assert taken.code == 1
    assert taken.out.splitlines() == [
        "NOT_A_PICTURE     5 B         kie-downloads/notes.txt",
        "1 objects (2.0 KiB) taken in, 1 are no pictures and stay as they are.",
    ]
    assert (again.code, wrong.code) == (0, 1)
    assert "prefix must begin with one of" in wrong.err
    async with aio.insecure_channel(stack.settings.address(ListenPort.STORAGE)) as channel:
        name = "objects/generated/generated_t1_0a1b2c3d.png"
        row = await storagerpc.StorageServiceStub(channel).GetObject(storagepb.GetObjectRequest(name=name))
    assert (row.size_bytes, row.width, row.source) == (2000, 4, storagepb.Object.SOURCE_IMPORT)


async def test_sign_prints_a_url_that_permits_just_this_variant(stack: Stack) -> None:
    row = await kept(stack, "sound")
    key = row.name.removeprefix("objects/")
    output = await stack.kawaii("storage", "sign", key, "-w", "3", "-h", "2", "-q", "90", "-f", "png")
    query = {name: value for name, [value] in parse_qs(urlsplit(output.out.strip()).query).items()}
    wish = {"object": row.name, "width": 3, "height": 2, "quality": 90, "format": "png"}
    async with aio.insecure_channel(stack.settings.address(ListenPort.STORAGE)) as channel:
        stub = storagerpc.StorageServiceStub(channel)
        made = await stub.CreateVariant(storagepb.CreateVariantRequest(**wish, signature=query["s"]))
        with pytest.raises(aio.AioRpcError):
            await stub.CreateVariant(storagepb.CreateVariantRequest(**wish | {"width": 4}, signature=query["s"]))

    assert output.out.startswith("http://localhost:8080/api/img?u=generated%2F")
    assert query == {"u": key, "w": "3", "h": "2", "q": "90", "fm": "png", "s": query["s"]}
    assert made.name == f"objects/variants/{key}/3x2.png"


async def test_what_is_refused_says_what_to_do(stack: Stack) -> None:
    move = await stack.kawaii("storage", "migrate", "--to", "s3")
    unknown = await stack.kawaii("storage", "sign", "uploads/none.png", "-w", "3")

    assert (move.code, unknown.code) == (1, 1)
    assert "Set STORAGE_MODE to the backend to move to" in move.err
    assert "There is no such object." in unknown.err


async def test_a_move_is_counted_then_done_and_then_the_old_place_is_cleared(
    tmp_path: Path, s3_server: S3Server
) -> None:
    moving = {
        "STORAGE_MODE": "s3",
        "STORAGE_SECOND_MODE": "local",
        "STORAGE_S3_ENDPOINT": s3_server.endpoint,
        "STORAGE_S3_BUCKET": s3_server.create_bucket(),
        "STORAGE_S3_ACCESS_KEY_ID": s3_server.access_key,
        "STORAGE_S3_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    folder, migrate = tmp_path / "data", ("storage", "migrate", "--to", "s3")
    async with opened(folder, ("storage",)) as stack:
        path = on_disk(stack, (await kept(stack, "moved")).name)
    async with opened(folder, ("storage",), **moving) as stack:
        counted = await stack.kawaii(*migrate, "--dry-run")
        unasked = await stack.kawaii(*migrate)
        copied = await stack.kawaii(*migrate, "--yes")
        there = path.exists()
        cleared = await stack.kawaii(*migrate, "--delete-source", "--yes", "-o", "json")
        proved = await stack.kawaii("storage", "verify", "--hash")

    plan = "1 objects (2.0 KiB) are to be copied; 1 objects (2.0 KiB) lie in the old backend."
    assert (counted.code, counted.out.splitlines()) == (0, [plan])
    assert unasked.code == 1
    assert (copied.code, copied.out.splitlines()) == (0, [plan, "1 objects (2.0 KiB) copied, 0 left with problems."])
    assert there
    assert (cleared.code, cleared.json[0]["changedCount"], path.exists()) == (0, 1, False)
    assert (proved.code, proved.out) == (0, "1 objects (2.0 KiB) looked at, 0 wrong.\n")
