"""The service as a process of its own: killed in the middle, started again, and kept within its memory."""

from pathlib import Path

import httpx
import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis.listen_addresses import ListenPort
from services.chassis.migrations import migrate
from services.storage.settings import StorageSettings
from tests.storage.processes import connected, parts, running
from tests.storage.samples import picture
from tests.support.polling import eventually
from tests.support.ports import free_base

Request = storagepb.UploadObjectRequest
MIB = 1024 * 1024
MAX_GROWTH_BYTES = 8 * MIB  # a few chunks in flight and the allocator's slack; the file itself would be 30


@pytest.fixture
def stack(tmp_path: Path) -> StorageSettings:
    settings = StorageSettings(data_dir=tmp_path, internal_port_base=free_base(), _env_file=None)
    migrate("storage", settings)
    return settings


@pytest.fixture
def any_stack(backend_settings: StorageSettings) -> StorageSettings:
    """A stack on each backend."""
    settings = backend_settings.model_copy(update={"internal_port_base": free_base()})
    migrate("storage", settings)
    return settings


async def status_of(stack: StorageSettings, path: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://{stack.address(ListenPort.FILES)}/files/{path}")).status_code


def files_of(stack: StorageSettings) -> list[str]:
    return [str(path.relative_to(stack.objects_dir)) for path in stack.objects_dir.rglob("*") if path.is_file()]


async def test_a_kill_in_the_middle_of_an_upload_leaves_nothing_to_see_and_the_next_start_works(
    stack: StorageSettings,
) -> None:
    body = picture(size=3 * MIB)
    async with running(stack) as process, connected(stack) as stub:
        call = stub.UploadObject()
        await call.write(Request(spec=Request.UploadSpec(prefix="generated")))
        await call.write(Request(chunk=body[:MIB]))
        await eventually(lambda: any(path.stat().st_size for path in stack.objects_dir.glob(".drafts/*")))
        process.kill()
        await process.wait()
        with pytest.raises(aio.AioRpcError):
            await call

    assert all(name.startswith(".drafts/") for name in files_of(stack))
    async with running(stack) as process, connected(stack) as stub:
        assert not (await stub.ListObjects(storagepb.ListObjectsRequest())).objects
        found = await stub.UploadObject(parts(body))
        assert await status_of(stack, found.name.removeprefix("objects/")) == 200
        assert await status_of(stack, next(name for name in files_of(stack) if name.startswith(".drafts/"))) == 404
        process.terminate()
        assert await process.wait() == 0


def memory(pid: int, field: str) -> int:
    """A line of /proc/pid/status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
async def test_a_large_upload_passes_through_in_bounded_memory(any_stack: StorageSettings) -> None:
    async with running(any_stack) as process, connected(any_stack) as stub:
        for _ in range(8):
            await stub.UploadObject(parts(picture(size=MIB)))
        before = memory(process.pid, "VmHWM")
        found = await stub.UploadObject(parts(picture(size=30 * MIB)))
        read = [len(piece.chunk) async for piece in stub.ReadObject(storagepb.ReadObjectRequest(name=found.name))]

        assert sum(read) == 30 * MIB
        assert memory(process.pid, "VmHWM") - before < MAX_GROWTH_BYTES


async def test_the_link_key_is_made_once_and_is_ours_alone(stack: StorageSettings) -> None:
    keys = []
    for _ in range(2):
        async with running(stack):
            path = stack.data_dir / "storage-link.key"
            assert path.stat().st_mode & 0o777 == 0o600
            keys.append(path.read_bytes())

    assert keys[0] == keys[1]
    assert len(keys[0]) == 32
