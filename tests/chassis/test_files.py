"""Keys become public URLs and our own URLs become keys again; nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.files import PublicFiles

FILES = PublicFiles("https://files.example/base/")
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
        "https://files.example/base/a.png?width=1",
        "https://files.example/base/a.png#part",
        "https://files.example/base/%2e%2e/a",
        "http://files.example/base/a.png",
        "HTTPS://files.example/base/a.png",
    ],
)
def test_a_foreign_or_decorated_url_names_no_key(uri: str) -> None:
    assert FILES.key(uri) == ""
