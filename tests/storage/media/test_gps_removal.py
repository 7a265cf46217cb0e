"""Where a picture was taken is taken out; nothing else of the file changes."""

import struct
import zlib
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from services.storage.media import format_parser, gps_removal
from services.storage.media.metadata_blocks import GPS_POINTER, clean_exif, clean_xmp
from tests.storage.media.builders import (
    EXIF_HEAD,
    PLACES,
    XMP,
    gradient,
    saved,
    tiff,
    with_chunk,
    with_segment,
)
from tests.storage.media.corpus import exif_carriers, xmp_carriers

SOFTWARE, ORIENTATION = 0x0131, 0x0112


def cleaned(content: bytes, extension: str) -> bytes:
    """The file with the edits applied."""
    found = gps_removal.edits(content, format_parser.parse(content, extension), extension)
    for start, stop, new in reversed(found):
        content = content[:start] + new + content[stop:]
    return content


def same_pixels(one: bytes, other: bytes) -> bool:
    return Image.open(BytesIO(one)).tobytes() == Image.open(BytesIO(other)).tobytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_gps_leaves_the_exif_block_and_all_else_stays(extension: str, order: str) -> None:
    content = exif_carriers(tiff(order, orientation=6))[extension]
    after = cleaned(content, extension)

    exif = Image.open(BytesIO(after)).getexif()
    assert dict(Image.open(BytesIO(content)).getexif().get_ifd(GPS_POINTER))
    assert GPS_POINTER not in exif
    assert (exif[ORIENTATION], exif[SOFTWARE]) == (6, "kawaii camera")
    assert len(after) == len(content)
    assert same_pixels(after, content)
    assert cleaned(after, extension) == after


@pytest.mark.parametrize("order", "<>")
def test_the_coordinates_are_overwritten_and_not_only_unlinked(order: str) -> None:
    block = tiff(order)
    numbers = block[-48:]

    assert numbers in block
    assert not any(clean_exif(block)[-len(numbers) - 54 :])


def test_a_block_without_a_location_or_without_sense_stays_as_it_is() -> None:
    for block in (tiff(gps=False), b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*" + bytes(40), b"junk" * 9):
        assert clean_exif(block) == block


def test_a_block_that_points_at_itself_ends() -> None:
    loop = b"II*\0\x08\0\0\0\0\0\x08\0\0\0"

    assert clean_exif(loop) == loop


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif"])
def test_locations_in_xmp_become_blanks_and_provenance_stays(extension: str) -> None:
    content = xmp_carriers(XMP)[extension]
    after = cleaned(content, extension)

    assert all(place in content and place not in after for place in PLACES)
    assert b"trainedAlgorithmicMedia" in after
    assert len(after) == len(content)
    assert same_pixels(after, content)
    packet = after[after.index(b"<x:xmpmeta") : after.index(b"</x:xmpmeta>") + len(b"</x:xmpmeta>")]
    assert ET.fromstring(packet).tag == "{adobe:ns:meta/}xmpmeta"  # noqa: S314 - our own words


def test_packed_xmp_of_a_png_is_read_too() -> None:
    whole = saved(gradient(30, 20), "png")
    content = with_chunk(whole, b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))
    after = cleaned(content, "png")

    xmp = Image.open(BytesIO(after)).info["xmp"]
    assert not any(place in xmp for place in PLACES)
    assert b"trainedAlgorithmicMedia" in xmp


def test_a_raw_profile_with_a_location_goes_as_a_whole() -> None:
    """ImageMagick writes EXIF as hexadecimal text."""
    whole, block = saved(gradient(30, 20), "png"), EXIF_HEAD + tiff()
    text = f"\nexif\n    {len(block)}\n{block.hex()}\n".encode()
    plain = with_chunk(whole, b"tEXt", b"Raw profile type exif\0" + text)
    packed = with_chunk(whole, b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))

    assert cleaned(plain, "png") == whole
    assert cleaned(packed, "png") == whole


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif"])
def test_a_picture_without_a_location_needs_no_edit(extension: str) -> None:
    content = saved(gradient(30, 20), extension)

    assert cleaned(content, extension) == content


def test_a_preview_behind_a_jpeg_is_cleaned_as_well() -> None:
    """Cameras append a second JPEG, with an EXIF block of its own."""
    whole = saved(gradient(30, 20), "jpg")
    content = with_segment(whole, 0xE2, b"MPF\0") + bytes(7) + with_segment(whole, 0xE1, EXIF_HEAD + tiff())
    parts = format_parser.parse(content, "jpg")

    assert parts.end == len(content)
    assert b"kawaii camera" in cleaned(content, "jpg")
    assert cleaned(content, "jpg") != content


def test_elements_and_attributes_of_any_prefix_are_blanked() -> None:
    text = b"<a:City/><b:City>Kyoto</b:City> <b:x c:GPSAltitude = '7' /> <d:Cityscape>kept</d:Cityscape> "
    text += b'<e:City f="1">Nara</e:City>'

    assert clean_xmp(text).split() == [b"<b:x", b"/>", b"<d:Cityscape>kept</d:Cityscape>"]


def block(*entries: tuple[int, int, bytes], order: str = "<") -> bytes:
    """An EXIF block of one directory behind IFD0: tag, type and value of each entry."""
    directory = 8 + 2 + 12 + 4
    values = directory + 2 + 12 * len(entries) + 4
    body, behind = struct.pack(order + "H", len(entries)), b""
    for tag, kind, value in entries:
        count = len(value) // (4 if kind == 4 else 1)
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", values + len(behind))
        body += struct.pack(order + "HHI", tag, kind, count) + inline
        behind += value if len(value) > 4 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, directory) + bytes(4)
    return head + first + body + bytes(4) + behind


@pytest.mark.parametrize("order", "<>")
def test_locations_in_blocks_within_an_exif_block_are_found(order: str) -> None:
    """XMP, IIM, Photoshop's resources and GeoTIFF, in a directory below the first."""
    iim = b"\x1c\x02\x5a\x00\x05Kyoto\x1c\x02\x19\x00\x04stay"
    resources = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iim)) + iim
    whole = block((0x02BC, 1, XMP), (0x83BB, 7, iim), (0x8649, 7, resources), (0x8482, 7, b"139.74,35.6"), order=order)
    after = clean_exif(whole)

    assert len(after) == len(whole)
    assert not any(place in after for place in (*PLACES, b"Kyoto", b"139.74"))
    assert after.count(b"stay") == 2
    assert b"trainedAlgorithmicMedia" in after
    assert clean_exif(after) == after


def test_a_travel_diary_in_a_makers_note_is_wiped() -> None:
    """Panasonic's cameras write city and landmark; their offsets count from the block's beginning."""
    start = len(block((0x927C, 7, b"")))  # where the note's value stands
    note = b"Panasonic\0\0\0" + struct.pack("<HHHII", 1, 0x6D, 7, 8, start + 12 + 2 + 12 + 4) + bytes(4) + b"Yokohama"
    whole = block((0x927C, 7, note))

    assert whole.index(b"Yokohama") == start + 30
    assert b"Yokohama" not in clean_exif(whole)
    assert len(clean_exif(whole)) == len(whole)


def test_what_is_broken_is_blanked_to_its_end() -> None:
    assert clean_xmp(b"<x:City>Kyoto, and nothing closes it").strip() == b""
    assert clean_xmp(b"<x a:City='Kyoto, and no quote closes it").split() == [b"<x"]


def test_names_that_only_look_like_locations_stay() -> None:
    packet = b"<x><mwg-rs:Regions>face</mwg-rs:Regions><a:Capacity>9</a:Capacity><b:Statement c:Longevity='9'/></x>"

    assert clean_xmp(packet) == packet
