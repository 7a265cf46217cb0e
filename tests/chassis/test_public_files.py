"""Keys become public URLs and our own URLs become keys again; nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.public_files import PublicFiles

FILES = PublicFiles("https://files.example/base/", "http://localhost:8080/files")
KEY = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,20}){0,3}", fullmatch=True)


@given(KEY)
def test_a_key_survives_the_way_to_a_url_and_back(key: str) -> None:
    assert FILES.key(FILES.uri(key)) == key


def test_a_url_lies_under_the_base() -> None:
    assert FILES.uri("generated/a.png") == "https://files.example/base/generated/a.png"


def test_nothing_stored_has_no_url() -> None:
    assert FILES.uri("") == ""


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "generated/a.png",
        "https://files.example/generated/a.png",
        "https://files.example/basement/a.png",
        "https://files.example.evil/base/a.png",
        "https://files.example/base",
        "https://files.example/base/",
        "https://files.example/base/../secret",
        "https://files.example/base/a//b",
        "https://files.example/base/a.png/",
        "https://files.example/base/%2e%2e/a",
        "https://files.example/BASE/a.png",
        "https://files.example:8443/base/a.png",
        "http://files.example:443/base/a.png",
        "https://me@files.example/base/a.png",
        "ftp://files.example/base/a.png",
        "https://former.example/base/a.png",
    ],
)
def test_a_foreign_url_names_no_key(uri: str) -> None:
    assert FILES.key(uri) == ""


@pytest.mark.parametrize(
    "uri",
    [
        "https://files.example/base/a/b.png",
        "https://files.example/base/a/b.png?width=1&x=/../",
        "https://files.example/base/a/b.png#part",
        "https://files.example:443/base/a/b.png",
        "http://files.example/base/a/b.png",
        "http://files.example:80/base/a/b.png",
        "HTTPS://Files.EXAMPLE./base/a/b.png",
        "http://localhost:8080/files/a/b.png",
        "http://LOCALHOST:8080/files/a/b.png?v=2",
    ],
)
def test_our_own_url_is_known_however_it_is_spelt(uri: str) -> None:
    assert FILES.key(uri) == "a/b.png"
