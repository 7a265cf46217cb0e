"""The form of a URL alone tells most of what must not be opened; names are for whoever can look them up."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.outbound import is_private, is_public, origin_of, require_public
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
    origin = origin_of(uri)

    assert origin
    assert (origin.host, origin.effective_port) == (host, port)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "017700000001", "::1", ":::", "localhost", "a.local", "1.2.3.4.5"]
)
def test_hosts_without_a_public_meaning_are_private(host: str) -> None:
    assert is_private(host)


DENIED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%2",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2606:4700::5efe:8.8.8.8",
    "2a00:1450:4001::1",
]


@pytest.mark.parametrize("address", DENIED)
def test_an_address_that_is_not_public_is_denied(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_nothing_is_public_that_the_standard_library_knows_better(address: IPv4Address | IPv6Address) -> None:
    """It misses addresses hidden in others, but what it denies is denied here too."""
    plain = getattr(address, "ipv4_mapped", None) or address  # older Pythons call every mapped one private
    if is_public(str(address)):
        assert plain.is_global
        assert not plain.is_multicast


@given(
    st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "64:ff9b::{}", "2606:4700::5efe:{}", "2606:4700::200:5efe:{}"])
)
def test_an_address_in_disguise_is_no_more_public_than_itself(hidden: IPv4Address, disguise: str) -> None:
    assert is_public(disguise.format(hidden)) == is_public(str(hidden))
