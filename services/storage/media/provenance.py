"""Copies provenance metadata (creator, software, AI labels) into derivatives, without GPS data.

C2PA manifests stay with the original: they are signed over its very bytes, and a copy would be a false claim.
Sources: IPTC DigitalSourceType travels in XMP; the AIGC label of GB 45438-2025 in XMP, EXIF or a PNG text named AIGC.
"""

from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from PIL import Image, PngImagePlugin

from services.storage.media.metadata_blocks import clean_xmp

MAX_METADATA_BYTES = 60_000  # what fits one segment of a JPEG
EXIF_DIRECTORY, USER_COMMENT = 0x8769, 0x9286
KEPT = (0x010E, 0x0131, 0x013B, 0x8298)  # description, software, artist, copyright
AIGC = "AIGC"
PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/" TC260:AIGC={label}/>'
    "</rdf:RDF></x:xmpmeta>"
)


@dataclass(frozen=True)
class Provenance:
    """XMP, EXIF and colour profile of a derivative; each may be empty."""

    xmp: bytes
    exif: bytes
    profile: bytes

    def options(self, extension: str) -> dict[str, object]:
        """The arguments of Pillow's save."""
        options: dict[str, object] = {"exif": self.exif, "icc_profile": self.profile}
        if extension == "png":
            options["pnginfo"] = self._texts()
        elif self.xmp:
            options["xmp"] = self.xmp
        return {name: value for name, value in options.items() if value}

    def _texts(self) -> PngImagePlugin.PngInfo:
        texts = PngImagePlugin.PngInfo()
        if self.xmp:
            texts.add_itxt("XML:com.adobe.xmp", self.xmp.decode("utf-8", "replace"))
        return texts


def provenance_of(picture: Image.Image) -> Provenance:
    """The provenance metadata of an opened picture."""
    profile = picture.info.get("icc_profile") or b""
    fits = profile[16:20] == b"RGB " and picture.mode in ("RGB", "RGBA", "P")
    return Provenance(_xmp(picture), _exif(picture), profile if fits and len(profile) <= MAX_METADATA_BYTES else b"")


def _xmp(picture: Image.Image) -> bytes:
    xmp = picture.info.get("xmp") or b""
    text = xmp if isinstance(xmp, bytes) else str(xmp).encode()
    label = picture.info.get(AIGC)
    if not text and isinstance(label, str):
        text = PACKET.format(label=quoteattr(label)).encode()
    return clean_xmp(text) if len(text) <= MAX_METADATA_BYTES else b""


def _exif(picture: Image.Image) -> bytes:
    """The few EXIF fields that name a creator, without previews, maker notes and GPS data."""
    given, kept = picture.getexif(), Image.Exif()
    for tag in KEPT:
        if isinstance(given.get(tag), str):
            kept[tag] = given[tag]
    comment = given.get_ifd(EXIF_DIRECTORY).get(USER_COMMENT)
    if isinstance(comment, bytes):
        kept.get_ifd(EXIF_DIRECTORY)[USER_COMMENT] = comment
    written = kept.tobytes() if len(kept) or isinstance(comment, bytes) else b""
    return written if len(written) <= MAX_METADATA_BYTES else b""
