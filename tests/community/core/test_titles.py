"""A slug is never empty and never another's, whatever the title."""

import pytest

from services.chassis.names import new_id
from services.community.core.titles import slug_of, title_of

TAIL = "art_01jxv3k8q4abcdefghjkmnpqrs"


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("A Cat, in the rain!", "a-cat-in-the-rain"),
        ("雨の中の猫", "雨の中の猫"),
        ("Кот под дождём", "кот-под-дождём"),
        ("हिन्दी में बिल्ली", "हिन्दी-में-बिल्ली"),
        ("แมวน้อย น่ารัก", "แมวน้อย-น่ารัก"),
        ("--x--", "x"),
        ("\uff26\uff55\uff4c\uff4c width", "full-width"),
        ("<script>alert(1)</script>/../", "script-alert-1-script"),
    ],
)
def test_a_slug_keeps_letters_of_any_script(title: str, slug: str) -> None:
    assert slug_of(title, TAIL) == f"{slug}-ghjkmnpqrs"


@pytest.mark.parametrize("title", ["", "!!!", "💫", "___"])
def test_a_title_of_signs_has_the_id_for_a_slug(title: str) -> None:
    assert slug_of(title, TAIL) == TAIL


def test_two_artworks_of_one_title_have_two_slugs() -> None:
    assert slug_of("cat", new_id("art")) != slug_of("cat", new_id("art"))


def test_a_title_is_one_line_and_never_empty() -> None:
    assert title_of(" a \n b ", "") == "a b"
    assert title_of("", "c" * 80) == "c" * 50
    assert title_of(" ", "") == "Untitled"
    assert title_of("cat\u202egnp", "") == "catgnp"
