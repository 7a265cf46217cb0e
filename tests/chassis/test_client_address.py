"""Whom a request counts for: the address that the edge vouches for."""

from typing import Any

import pytest

from services.chassis.client_address import client_of_scope


def asked(vouched: str, peer: str | None = "127.0.0.1", **headers: str) -> dict[str, Any]:
    given = {**headers, **({"x-kawaii-client": vouched} if vouched else {})}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    return {"type": "http", "headers": raw, "client": (peer, 1) if peer else None}


@pytest.mark.parametrize(
    ("vouched", "subject"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "127.0.0.1"),
        ("not an address", "unknown"),
    ],
)
def test_a_caller_is_an_address_or_a_network_of_them(vouched: str, subject: str) -> None:
    assert client_of_scope(asked(vouched)) == subject


def test_what_a_client_says_of_itself_is_not_believed() -> None:
    forged = {"x_forwarded_for": "198.51.100.1", "cf_connecting_ip": "198.51.100.2", "forwarded": "for=198.51.100.3"}

    assert client_of_scope(asked("203.0.113.9", **forged)) == "203.0.113.9"


def test_callers_without_an_address_share_one_place() -> None:
    assert client_of_scope(asked("", peer=None)) == "unknown"
