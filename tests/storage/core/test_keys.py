"""Keys are the server's to choose; whatever a client calls its file stays inside generated/."""

import re

import pytest

from services.chassis.names import KEY, MAX_KEY_LENGTH
from services.storage.core import keys
from services.storage.model import JPEG, PNG

MAKER = keys.ObjectKeys(lambda: 1_700_000_000_000)
HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "/etc/passwd",
    "C:\\windows\\system32\\cmd.exe",
    "..\\..\\x.png",
    "%2e%2e%2fx.png",
    "a/../../b.png",
    "gen_other/0.png",
    "a\x00b.png",
    "a\r\nb.png",
    "<script>.html",
    ".htaccess",
    "-rf.png",
    "_.png",
    "a" * 3000 + ".png",
    "Ünïcode 猫.png",
    "e\u0301.png",
    "CON",
    "name.",
    "x.tar.gz",
    "v1.2 final version",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_client_s_name_never_leaves_the_folder_nor_brings_its_extension(name: str) -> None:
    stem = keys.stem_of(name)
    if stem:
        for key in (keys.of_name(stem, PNG), keys.twin_of_name(stem, PNG)):
            assert KEY.fullmatch(key)
            assert len(key) <= MAX_KEY_LENGTH
            assert re.fullmatch(r"generated/[A-Za-z0-9][A-Za-z0-9_-]*\.png", key)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("nanoBanana_task-1.jpeg", "nanoBanana_task-1"),
        ("no extension", "no_extension"),
        ("oxygen_tank.png", "oxygen_tank"),
        ("v1.2 final version", "v1_2_final_version"),
        ("Crème brûlée.webp", "Creme_brulee"),
        ("../../etc/passwd", "passwd"),
        ("猫.png", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_what_is_readable_of_a_name_is_kept(name: str, stem: str) -> None:
    assert keys.stem_of(name) == stem


@pytest.mark.parametrize(
    "name",
    [
        "generated_gen_01abc.png",
        "generated_gen_01m8nq5v59mtfw5mhytsg0gm0d_1.png",
        "generated_281e5b0f9a3c4d7e8f90a1b2c3d4e5f6.png",
        "nanoBanana_281e5b0f-9a3c-4d7e-8f90-a1b2c3d4e5f6.jpeg",
        "fluxkontext_281e5b0f9a3c4d7e8f90.png",
        "callback_task-1_1700000000000.png",
        "task 1",
    ],
)
def test_a_name_that_holds_a_task_id_is_not_kept(name: str) -> None:
    assert keys.stem_of(name, "task 1" if name == "task 1" else "task-1") == ""


@pytest.mark.parametrize(
    ("prefix", "form"),
    [
        ("uploads", r"uploads/1700000000000-[0-9a-f]{32}\.jpg"),
        ("generated", r"generated/generated_1700000000000_[0-9a-f]{8}\.jpg"),
        ("artworks/original", r"artworks/original/[0-9a-f-]{36}\.jpg"),
    ],
)
def test_a_fresh_key_has_the_form_of_the_seeds(prefix: str, form: str) -> None:
    assert re.fullmatch(form, MAKER.new(prefix, JPEG))
    assert MAKER.new(prefix, JPEG) != MAKER.new(prefix, JPEG)


def test_a_generation_s_picture_has_one_key() -> None:
    assert keys.of_generation("gen_a", 2, PNG) == "generated/gen_a/2.png"
