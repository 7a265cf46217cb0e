"""An input picture must be one that the provider may fetch for anybody."""

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.public_files import PublicFiles
from services.generation.core.validation import UrlPolicy
from tests.generation.harness import FakeStorage

FILES = PublicFiles("http://localhost:8080/files")


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def url_policy(storage: FakeStorage) -> UrlPolicy:
    return UrlPolicy(FILES, storage, frozenset({"127.0.0.1:50056"}))


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/x.png",
        "http://127.1/x.png",
        "http://2130706433/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.8/x.png",
        "http://[::1]/x.png",
        "http://[fd00::1]/x.png",
        "http://[64:ff9b::a9fe:a9fe]/x.png",
        "http://localhost/x.png",
        "http://localhost:8080/api/health",
        "http://storage/x.png",
        "http://db.internal/x.png",
        "http://printer.local./x.png",
        "http://user:word@example.com/x.png",
        "https://example.com:22/x.png",
        "http://127.0.0.1:50057/x.png",
    ],
)
async def test_a_picture_in_a_private_network_is_refused_before_any_name_is_looked_up(
    url_policy: UrlPolicy, storage: FakeStorage, uri: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await url_policy.check(["https://example.com/x.png", uri])

    assert (refused.value.reason, refused.value.metadata["field"]) == ("URL_NOT_ALLOWED", "image_uris")
    assert storage.checked == []


async def test_a_public_name_that_leads_inside_is_refused_by_who_looks_it_up(url_policy: UrlPolicy) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await url_policy.check(["https://inside.example.com/x.png"])

    assert refused.value.reason == "URL_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("uri", "is_looked_up"),
    [
        ("https://example.com/x.png", True),
        ("http://93.184.216.34/x.png", True),
        ("https://pub-1234.r2.dev/uploads/x.png", True),
        ("http://127.0.0.1:50056/tempfile/x.png", True),
        ("http://localhost:8080/files/uploads/1700000000000-ab.png", False),
        ("HTTP://LOCALHOST:8080/files/uploads/1700000000000-ab.png?v=1", False),
    ],
)
async def test_public_pictures_exempt_places_and_our_own_files_pass(
    url_policy: UrlPolicy, storage: FakeStorage, uri: str, *, is_looked_up: bool
) -> None:
    await url_policy.check([uri])

    assert storage.checked == [uri] * is_looked_up
