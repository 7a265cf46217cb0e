"""The form of a URL alone tells most of what must not be opened; names are for whoever can look them up."""

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.outbound import is_private, place_of, require_public
from tests.storage.hostile.table import honest, hostile

ALLOWED = frozenset({"127.0.0.1:50056", "[::1]:8080"})
FORMS = [row.uri for row in hostile() if row.seen == "form"]
OTHERS = [row.uri for row in hostile() if row.seen != "form"]


@pytest.mark.parametrize("uri", FORMS)
def test_a_url_that_shows_its_danger_is_refused(uri: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        require_public(uri, ALLOWED, "image_uris")

    assert refusal.value.reason == "URL_NOT_ALLOWED"
    assert refusal.value.metadata == {"field": "image_uris"}
    assert refusal.value.message.endswith(".")


@pytest.mark.parametrize("uri", [*honest(), *OTHERS])
def test_a_url_that_only_a_name_server_or_a_visit_could_tell_from_an_honest_one_passes(uri: str) -> None:
    require_public(uri, ALLOWED, "image_uris")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:50056/a.png", "http://[::1]:8080/a.png", "http://[::1]:8080"])
def test_an_exempt_place_may_be_private(uri: str) -> None:
    require_public(uri, ALLOWED, "image_uris")


@pytest.mark.parametrize(
    ("uri", "host", "port"),
    [
        ("HTTPS://Pictures.Example./a", "pictures.example.", 443),
        ("http://bücher.example:80?x", "xn--bcher-kva.example", 80),
        ("http://[::1]:8080#x", "::1", 8080),
    ],
)
def test_a_place_is_read_one_way(uri: str, host: str, port: int) -> None:
    place = place_of(uri)

    assert place
    assert (place.host, place.effective_port) == (host, port)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "017700000001", "::1", ":::", "localhost", "a.local", "1.2.3.4.5"]
)
def test_hosts_without_a_public_meaning_are_private(host: str) -> None:
    assert is_private(host)
