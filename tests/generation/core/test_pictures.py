"""A picture to start from must be one that the provider may fetch for a stranger."""

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.files import PublicFiles
from services.generation.core.pictures import check_public

FILES = PublicFiles("http://localhost:8080/files")


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
        "http://localhost/x.png",
        "http://localhost:8080/api/health",
        "http://storage/x.png",
        "http://db.internal/x.png",
        "http://printer.local./x.png",
    ],
)
def test_a_picture_in_a_private_network_is_refused(uri: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_public([uri], FILES)

    assert refused.value.metadata["field"] == "image_uris"


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/x.png",
        "http://93.184.216.34/x.png",
        "https://pub-1234.r2.dev/uploads/x.png",
        "http://localhost:8080/files/uploads/1700000000000-ab.png",
    ],
)
def test_public_pictures_and_our_own_files_pass(uri: str) -> None:
    check_public([uri], FILES)
