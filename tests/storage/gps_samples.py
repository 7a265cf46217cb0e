"""Pictures with GPS data as cameras and programs write them; exiftool writes and checks them."""

import json
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.storage.media.builders import XMP_HEAD, gradient, saved, with_chunk, with_riff, with_segment

EXIFTOOL = shutil.which("exiftool")
PLACE = "Kyotosecret"
NUMBERS = ("35.658581", "139.745433")
TELLS = re.compile(
    r"gps|latitude|longt?itude|altitude|location|city|state|country|province|landmark|coverage", re.IGNORECASE
)
TAGS = {
    "exif": [f"-EXIF:GPSLatitude={NUMBERS[0]}", f"-EXIF:GPSLongitude={NUMBERS[1]}", "-EXIF:GPSAltitude=77"],
    "iim": [
        f"-IPTC:City={PLACE}",
        f"-IPTC:Sub-location={PLACE} 4-2-8",
        f"-IPTC:Province-State={PLACE}",
        "-IPTC:Country-PrimaryLocationCode=JPN",
        f"-IPTC:Country-PrimaryLocationName={PLACE}",
        f"-IPTC:ContentLocationName={PLACE}",
    ],
    "xmp": [
        f"-XMP-photoshop:City={PLACE}",
        f"-XMP-photoshop:State={PLACE}",
        f"-XMP-iptcCore:Location={PLACE}",
        "-XMP-iptcCore:CountryCode=JPN",
        f"-XMP-iptcExt:LocationCreatedCity={PLACE}",
        f"-XMP-iptcExt:LocationShownSublocation={PLACE}",
        f"-XMP-exif:GPSLatitude={NUMBERS[0]}",
        f"-XMP-xmpDM:ShotLocation={PLACE}",
        f"-XMP-dc:Coverage={PLACE}",
    ],
    "drone": [
        f"-XMP-drone-dji:GPSLatitude={NUMBERS[0]}",
        f"-XMP-drone-dji:GPSLongtitude={NUMBERS[1]}",
        f"-XMP-drone-dji:Latitude={NUMBERS[0]}",
        f"-XMP-drone-dji:Longitude={NUMBERS[1]}",
        "-XMP-drone-dji:AbsoluteAltitude=77",
    ],
}
KEPT = ["-IPTC:Keywords=a word that stays", "-XMP-dc:Creator=a person who stays"]
DJI = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n  <rdf:Description rdf:about="DJI Meta Data"\n'
    '    xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"\n'
    f'   tiff:Make="DJI"\n   tiff:Model="FC3170"\n   drone-dji:GpsLatitude="+{NUMBERS[0]}"\n'
    f"   drone-dji:GpsLongitude = '+{NUMBERS[1]}'\n   drone-dji:latitude=\"+{NUMBERS[0]}\"\n"
    f'   drone-dji:Longitude="+{NUMBERS[1]}"\n   drone-dji:AbsoluteAltitude="+77.10"\n'
    '   drone-dji:GimbalReverse="0">\n  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
)
LONG_HEAD = b"http://ns.adobe.com/xmp/extension/\0" + b"0123456789ABCDEF" * 2
COORDINATES = f'{{"exif:GPSLatitude": "{NUMBERS[0]}", "exif:GPSLongitude": "{NUMBERS[1]}"}}'.encode()


def corpus(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, extension and content of each."""
    for extension in ("jpg", "png", "gif"):
        for name, tags in TAGS.items():
            if extension != "gif" or name in ("xmp", "drone"):
                yield name, extension, written(folder, extension, [*tags, *KEPT])
        yield "everything", extension, written(folder, extension, [tag for tags in TAGS.values() for tag in tags])
    packet = DJI.encode()
    jpeg, png, webp = (saved(gradient(90, 60), extension) for extension in ("jpg", "png", "webp"))
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        yield f"dji-{encoding}", "jpg", with_segment(jpeg, 0xE1, XMP_HEAD + DJI.encode(encoding))
        yield f"dji-{encoding}", "webp", with_riff(webp, b"XMP ", DJI.encode(encoding), 0x04)
    yield "dji-packed", "png", with_chunk(png, b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet))
    half = len(packet) // 2  # in the midst of the numbers
    parts = (packet[:half], packet[half:])
    for at, part in ((half, parts[1]), (0, parts[0])):
        jpeg = with_segment(jpeg, 0xE1, LONG_HEAD + struct.pack(">II", len(packet), at) + part)
    yield (
        "dji-in-two-segments",
        "jpg",
        with_segment(
            jpeg,
            0xE1,
            XMP_HEAD
            + b'<x xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="'
            + LONG_HEAD[-32:]
            + b'"/>',
        ),
    )
    profile = packet.hex()
    text = f"\nxmp\n {len(packet)}\n" + "\n".join(profile[at : at + 72] for at in range(0, len(profile), 72))
    yield "raw-profile", "png", with_chunk(png, b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(text.encode()))
    yield "named-text", "png", with_chunk(png, b"tEXt", b"exif:GPSLatitude\x0035/1, 39/1, 30/1")
    yield "manifest", "jpg", with_segment(saved(gradient(90, 60), "jpg"), 0xEB, b"JP\0\0\0\0\0\1jumb" + COORDINATES)
    yield "manifest", "png", with_chunk(png, b"caBX", b"jumb" + COORDINATES)
    yield "manifest", "webp", with_riff(webp, b"C2PA", b"jumb" + COORDINATES)


def written(folder: Path, extension: str, tags: list[str]) -> bytes:
    """A picture with the tags that its type can hold."""
    path = folder / f"written.{extension}"
    path.write_bytes(saved(gradient(90, 60), extension))
    assert EXIFTOOL
    subprocess.run([EXIFTOOL, "-q", "-q", "-m", "-overwrite_original", *tags, path], check=True)
    return path.read_bytes()


def locations_in(folder: Path, pictures: dict[str, bytes]) -> dict[str, dict[str, str]]:
    """The locations in pictures by file name, as exiftool reads them and as found in their bytes."""
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    assert EXIFTOOL
    command = [EXIFTOOL, "-json", "-a", "-u", "-G1", "-n", "-ee", *(folder / name for name in pictures)]
    found = json.loads(subprocess.run(command, check=False, capture_output=True).stdout)
    judged = {Path(tags["SourceFile"]).name: _of_places(tags) for tags in found}
    assert judged.keys() == pictures.keys()
    for name, content in pictures.items():
        judged[name] |= {sign: "in the bytes" for sign in (PLACE, *NUMBERS) if sign.encode() in content}
    return {name: places for name, places in judged.items() if places}


def _of_places(found: dict[str, object]) -> dict[str, str]:
    tags = {name: str(value) for name, value in found.items() if not name.startswith(("SourceFile", "System:"))}
    named = {name: value for name, value in tags.items() if TELLS.search(name.partition(":")[2]) and value.strip()}
    return named | {name: value for name, value in tags.items() if any(sign in value for sign in (PLACE, *NUMBERS))}
