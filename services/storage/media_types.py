"""Detects a picture's type from its first bytes (sniffing); names and declared types are not trusted."""

from services.storage.model import GIF, JPEG, PNG, WEBP, PictureType

HEAD_BYTES = 16  # the longest signature below needs twelve


def sniff(head: bytes) -> PictureType | None:
    """The type of a file that begins with these bytes; None when it is no supported picture."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return None
