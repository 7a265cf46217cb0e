"""A picture's type comes from its bytes."""

import pytest

from services.storage.media_types import sniff
from tests.storage.samples import FORMATS, picture


@pytest.mark.parametrize("extension", sorted(FORMATS))
def test_each_kind_of_picture_is_known_by_its_first_bytes(extension: str) -> None:
    kind = sniff(picture(extension))

    assert kind is not None
    assert kind.extension == extension


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!doctype html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'>",
        b"%PDF-1.7",
        b"\x7fELF\x02\x01\x01",
        b"PK\x03\x04",
        b"<?php echo 1;",
        b"\x89PNG\r\n",
        b"\xff\xd8",
        b"GIF88a",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"\x00\x00\x00\x1cftypavif",
        b" \x89PNG\r\n\x1a\n",
    ],
)
def test_nothing_else_is_a_picture(head: bytes) -> None:
    assert sniff(head) is None
