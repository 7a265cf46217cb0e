"""What a token says of a person reaches the community in every script."""

import pytest

from gateway.auth.users import User, user_of
from gateway.rest.multipart import display_name
from tests.scripts import NAMES


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_of_any_script_is_kept(name: str) -> None:
    assert user_of({"sub": "ann", "name": name}).name == name
    assert display_name(f"C:\\\\pictures\\\\{name}.png".encode()) == f"{name}.png"


@pytest.mark.parametrize(
    ("claim", "name"),
    [("山田\u3000太郎", "山田 太郎"), ("a\u202eb\0c\n", "abc"), (7, ""), ("x" * 513, ""), (None, "")],
)
def test_what_is_no_name_is_left_out_and_spaces_become_one(claim: object, name: str) -> None:
    assert user_of({"sub": "ann", "name": claim}) == User("ann", name)
