"""The service as a process of its own: killed in the middle, started again, and kept within its memory."""

from pathlib import Path

import httpx
import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis.addresses import ListenPort
from services.chassis.migrations import migrate
from services.chassis.signing_keys import PurposeKeys
from services.storage.backends.folder_id import MARKER
from services.storage.core.uploads import UploadToken, UploadTokens
from services.storage.core.variants import VariantPresets
from services.storage.model import VariantWish
from services.storage.settings import StorageSettings
from tests.storage.processes import connected, parts, refused, running
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


async def status_of(stack: StorageSettings, path: str, content: bytes = b"") -> int:
    """The status of a GET, or of a PUT of some content."""
    url = f"http://{stack.address(ListenPort.FILES)}/files/{path}"
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await (client.put(url, content=content) if content else client.get(url))).status_code


def files_of(stack: StorageSettings) -> list[str]:
    found = [str(path.relative_to(stack.objects_dir)) for path in stack.objects_dir.rglob("*") if path.is_file()]
    return [name for name in found if name != MARKER]


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


async def test_the_signing_key_is_made_once_and_a_start_with_another_one_is_refused(stack: StorageSettings) -> None:
    keys = []
    path = stack.data_dir / "signing.key"
    for _ in range(2):
        async with running(stack):
            assert path.stat().st_mode & 0o777 == 0o600
            keys.append(path.read_text())
    assert keys[0] == keys[1]

    path.unlink()
    code, said = await refused(stack)
    assert code == 78
    assert "kawaii signing-key forget" in said


async def test_a_link_and_a_picture_url_signed_by_an_older_version_stay_good(stack: StorageSettings) -> None:
    """Whose keys lay in a file for each purpose, and signed as they were."""
    old = b"\x01" * 32
    for name in ("storage-link.key", "storage-variant.key"):
        (stack.data_dir / name).write_bytes(old)
    async with running(stack), connected(stack) as stub:
        link = await stub.CreateUploadLink(
            storagepb.CreateUploadLinkRequest(original_name="a.png", content_type="image/png", size_bytes=3)
        )
        key = link.object.removeprefix("objects/")
        signed = UploadTokens(PurposeKeys(old)).signed(UploadToken(key, 3, 2**42))
        assert await status_of(stack, f"-/uploads/{signed}", b"abc") == 201

        found = await stub.UploadObject(parts(picture()))
        wish = VariantWish(width=99, quality=80, extension="webp")
        signature = VariantPresets(PurposeKeys(old)).signature(found.name.removeprefix("objects/"), wish)
        variant = storagepb.CreateVariantRequest(
            object=found.name, width=99, quality=80, format="webp", signature=signature
        )
        assert "/99x0q80." in (await stub.CreateVariant(variant)).name  # no preset
