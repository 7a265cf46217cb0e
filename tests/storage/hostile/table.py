"""Hostile URLs by class, made from addresses, names and spellings; and fifty honest ones.

The functions that make them say what the classes X1 to X7 are.

A row says how far its danger can be seen: `form` by reading it, `name` by looking its host up, `trip` only on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal
from urllib.parse import quote

Seen = Literal["form", "name", "trip", "own"]
PUBLIC_4, PUBLIC_6 = "93.184.215.14", "2606:4700:4700::1111"
OWN_HOST, OWN_ADDRESS = "site.example", "93.184.215.99"
PRIVATE_4 = (
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.7",
    "172.16.3.4",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.192",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
)
PRIVATE_6 = (
    "::1",
    "::",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "64:ff9b:1::1",
    "100::1",
    "2001:db8::1",
    "2001:10::1",
    "3fff::1",
    "5f00::1",
)
PORTS = (1, 21, 22, 25, 53, 3306, 5432, 6379, 8080, 8443, 9200, 11211, 0, 65_536, 99_999)
INNER_NAMES = ("localhost", "storage", "db.internal", "printer.local", "nas.lan", "box.home.arpa", "a.localhost")
REBINDS = 50


@dataclass(frozen=True)
class Row:
    """A hostile URL, its class, and where its danger can be seen."""

    kind: str
    uri: str
    seen: Seen = "form"


def hostile() -> list[Row]:
    """The whole table, each URL once."""
    rows = [*_addresses(), *_names(), *_tricks(), *_ports(), *_trips(), *_own()]
    return list({row.uri: row for row in rows}.values())


def rebinding() -> list[str]:
    """Hosts whose answers change, mix or point inside; the name server knows their scripts."""
    return [f"r{number}.rebind.example" for number in range(REBINDS)]


def _addresses() -> Iterator[Row]:
    """X1 and X2: every private address in every spelling."""
    for address in PRIVATE_4:
        for spelling in spellings(IPv4Address(address)):
            yield Row("X1", f"http://{spelling}/latest/meta-data/")
        yield Row("X1", f"https://{address}/a.png")
        yield Row("X1", f"HTTP://{address}:80/a.png#@public.example")
        yield Row("X2", f"http://public.example@{address}/a.png")
        yield Row("X2", f"http://public.example\\@{address}/a.png")
        yield Row("X2", f"http://{address}?u=kie.ai/a.png")
    for address in PRIVATE_6:
        yield Row("X1", f"http://[{address}]/a.png")
        yield Row("X1", f"https://[{IPv6Address(address).exploded.upper()}]:443/a.png")


def spellings(address: IPv4Address) -> Iterator[str]:
    """An IPv4 address as resolvers read it, and hidden in IPv6."""
    number, (a, b, c, d) = int(address), address.packed
    high, low = number >> 16, number & 0xFFFF
    yield from (str(address), f"{address}.", str(number), hex(number), f"0{number:o}")
    yield from (f"{a}.{(b << 16) + (c << 8) + d}", f"{a}.{b}.{(c << 8) + d}", f"0x{a:x}.{b}.{c}.{d}")
    yield from (f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"0x{a:02x}.0x{b:02x}.0x{c:02x}.0x{d:02x}")
    yield from (f"[::ffff:{address}]", f"[::ffff:{high:x}:{low:x}]", f"[0:0:0:0:0:FFFF:{high:x}:{low:x}]")
    yield from (
        f"[::{address}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b::{high:x}:{low:x}]",
        f"[2002:{high:x}:{low:x}::1]",
    )
    yield f"[2001:0:4136:e378:8000:63bf:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]"
    yield from (f"[fe80::5efe:{address}]", f"[2606:4700::5efe:{address}]", f"[2606:4700::200:5efe:{address}]")


def _names() -> Iterator[Row]:
    """X3: names without a public meaning, and public names that lead inside."""
    for name in INNER_NAMES:
        yield from (Row("X3", f"http://{name}/a.png"), Row("X3", f"https://{name.upper()}./a.png"))
    for name in ("inside", "metadata", "mixed", "loop6", "mapped", "alias", "kie.ai.evil", "mixed6"):
        yield from (Row("X3", f"http://{name}.example/a.png", "name"), Row("X3", f"https://{name}.example./b", "name"))


def _tricks() -> Iterator[Row]:
    """X2 and X4: other schemes, and URLs that two readers read in two ways."""
    for scheme in ("file", "gopher", "ftp", "dict", "ldap", "ws", "jar", "javascript", "view-source", "httpx"):
        yield Row("X4", f"{scheme}://public.example/a.png")
    for uri in (
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//public.example/a.png",
        "http://",
        "http:///a.png",
        "https:public.example/a.png",
        "http:/public.example/a.png",
        "http://user@public.example/a.png",
        "http://user:word@public.example/a.png",
        "http://:word@public.example/a.png",
        "http://public.example:8o/a.png",
        "http://public.example:-1/a.png",
        "http://[::1/a.png",
        "http://[public.example]/a.png",
        "http://pub\tlic.example/a.png",
        "http://public.example/a\r\nHost: inside.example",
        "http://public%2eexample/a.png",
        "http://127.0.0.1%2f@public.example/a.png",
        "http://①②⑦.⓪.⓪.①/a.png",
        "http://127。0。0。1/a.png",
        "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/a.png",
        "http://[fe80::1%25lo]/a.png",
        "http://1.2.3.4.5/a.png",
        "http://public..example/a.png",
        f"http://{'a' * 64}.example/a.png",
        f"http://{'a.' * 130}example/a.png",
        "http://public.example:80:80/a.png",
        "http://\u202epublic.example/a.png",
    ):
        yield Row("X2", uri)


def _ports() -> Iterator[Row]:
    """X5: ports other than 80 and 443."""
    for port in PORTS:
        yield from (Row("X5", f"http://public.example:{port}/a.png"), Row("X5", f"https://{PUBLIC_4}:{port}/a.png"))


def _trips() -> Iterator[Row]:
    """X4: an honest beginning whose redirect leads inside, elsewhere, or round and round."""
    inside = [f"http://{address}/a.png" for address in PRIVATE_4] + [
        f"http://[{address}]/a.png" for address in PRIVATE_6
    ]
    others = ["http://inside.example/", "//mixed.example/", "file:///etc/passwd", "gopher://public.example:22/_x"]
    others += ["http://public.example:6379/", "http://user@public.example/a.png", f"http://{OWN_HOST}/a.png"]
    others += ["http://0x7f.1/", "http://2852039166/"]
    for target in inside + others:
        yield Row("X4", f"http://public.example/bounce?to={quote(target, safe='')}", "trip")
    yield Row("X4", "http://public.example/round", "trip")
    yield Row("X4", "https://public.example/bounce?to=http%3A%2F%2Fpublic.example%2Fa.png", "trip")


def _own() -> Iterator[Row]:
    """X7: our own public host, which is answered without any fetch."""
    for path in (
        "",
        "/",
        "/api/img?u=x",
        "/api/health",
        "/files/generated/none.png",
        "/files/../x",
        "/files/none.png?v=1",
    ):
        for origin in (
            f"http://{OWN_HOST}",
            f"HTTP://{OWN_HOST.upper()}:80",
            f"https://{OWN_HOST}.",
            f"https://{OWN_HOST}:443",
        ):
            yield Row("X7", f"{origin}{path}", "own")


def honest() -> list[str]:
    """Fifty URLs that every entry takes."""
    hosts = ("public.example", "both.example", "PUBLIC.example.", "bücher.example", "xn--bcher-kva.example")
    places = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    places += [f"http://{PUBLIC_4}", f"http://[{PUBLIC_6}]", "http://public.example:80", "https://public.example:443"]
    paths = ("/a.png", "/b/c%20d.png?x=1&y=%2F..%2F", "/a.png?u=http://127.0.0.1/#part")
    uris = [f"{place}{path}" for place in places for path in paths]
    hops = [f"http://public.example/hop/{number}" for number in (1, 2, 3)]
    to_tls = "http://public.example/bounce?to=https%3A%2F%2Fboth.example%2Fa.png"
    return [*uris, *hops, to_tls, "https://public.example/bounce?to=%2Fa.png", *_plain(50 - len(uris) - 5)]


def _plain(count: int) -> list[str]:
    return [f"https://both.example/picture-{number}.png" for number in range(count)]
