"""The service as a process of its own: bombs, lies and dying workers leave it alive, small and of use."""

from pathlib import Path

import psutil
import pytest
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis.migrations import migrate
from services.storage.settings import StorageSettings
from tests.storage.calls import refused, uploaded
from tests.storage.media.builders import gradient, png, saved
from tests.storage.media.corpus import truncated
from tests.storage.processes import connected, running
from tests.support.polling import eventually
from tests.support.ports import free_base

MIB = 1024 * 1024
MAX_GROWTH_BYTES = 12 * MIB  # of the service itself; a worker may take 1 GiB for a moment


@pytest.fixture
def stack(tmp_path: Path) -> StorageSettings:
    settings = StorageSettings(data_dir=tmp_path, internal_port_base=free_base(), _env_file=None)
    migrate("storage", settings)
    return settings


async def test_hostile_pictures_leave_the_service_alive_and_small(stack: StorageSettings) -> None:
    bomb, honest = png(9_000, 9_000), saved(gradient(300, 200), "png")
    async with running(stack) as process, connected(stack) as stub:
        service = psutil.Process(process.pid)
        await uploaded(stub, honest)
        before = service.memory_info().rss
        for case in [*truncated()][::12]:
            assert (await refused(uploaded(stub, case.content)))[1] == "INVALID_IMAGE"
        assert (await refused(uploaded(stub, bomb)))[1] == "IMAGE_TOO_LARGE"
        for worker in service.children():
            worker.kill()
        await eventually(lambda: not any(worker.is_running() for worker in service.children()))
        found = await uploaded(stub, honest)
        made = await stub.CreateVariant(storagepb.CreateVariantRequest(object=found.name, width=64))

        assert (made.width, made.height) == (64, 43)
        assert service.memory_info().rss - before < MAX_GROWTH_BYTES
        assert not any("PIL" in library.path for library in service.memory_maps())


async def test_an_artwork_has_its_thumbnail_soon(stack: StorageSettings) -> None:
    async with running(stack), connected(stack) as stub:
        await uploaded(stub, saved(gradient(900, 600), "png"), prefix="artworks/original")
        wanted = storagepb.ListObjectsRequest(prefix="artworks/thumb/")
        thumbs: list[storagepb.Object] = []
        while not thumbs:  # the test's own timeout bounds it
            thumbs = list((await stub.ListObjects(wanted)).objects)

        assert (thumbs[0].content_type, thumbs[0].width) == ("image/webp", 512)
