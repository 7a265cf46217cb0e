"""Decides which variants may be made: a few presets for everyone, any size for the holder of a signed URL."""

from collections.abc import Sequence
from dataclasses import replace

from services.chassis.errors import InvalidArgument, PermissionDenied
from services.storage.core.url_signatures import UrlSignatures
from services.storage.model import JPEG, PNG, WEBP, PictureType, VariantSpec, VariantWish

WIDTHS = (64, 128, 256, 512, 1024, 2048)  # thumbnails, tiles and screens: 42 variants of a picture with what follows
QUALITIES = (50, 70, 90)  # of JPEG and WebP; a PNG has none
LEAST_QUALITY, MOST_QUALITY = 30, 100  # that may be signed
DEFAULT_QUALITY = 70  # docs/rest.md#small-pictures
MAX_SIGNED_SIDE = 4096  # sixteen megapixels are no longer a smaller picture
KINDS = {kind.extension: kind for kind in (WEBP, JPEG, PNG)} | {"jpeg": JPEG}
THUMBNAIL = VariantSpec(512, 512, 85, WEBP)  # docs/storage.md#keys


class VariantPresets:
    """Maps a wish for a variant to what is made."""

    def __init__(self, signatures: UrlSignatures) -> None:
        self._signatures = signatures

    def of(self, key: str, wish: VariantWish, original_width: int = 0) -> VariantSpec:
        """The least preset that serves a wish, or exactly what was signed; never wider than needed for the original.

        Raises:
            InvalidArgument: a size is out of bounds, or the format is unknown.
            PermissionDenied: the signature is not ours.
        """
        kind = _kind(wish.extension)
        if not wish.signature:
            width = _preset(WIDTHS, min(wish.width or WIDTHS[-1], original_width or WIDTHS[-1]))
            return VariantSpec(width, 0, _encoded(kind, _preset(QUALITIES, _quality(wish))), kind)
        if not self._signatures.is_valid(key, wish):
            raise PermissionDenied("This picture's URL is not signed by us. Use it as it was given to you.")
        if not 1 <= wish.width <= MAX_SIGNED_SIDE or wish.height > MAX_SIGNED_SIDE:
            raise InvalidArgument(f"A variant has at most {MAX_SIGNED_SIDE} pixels on a side.")
        return VariantSpec(wish.width, wish.height, _encoded(kind, _quality(wish)), kind)

    def signed(self, key: str, wish: VariantWish) -> VariantWish:
        """The wish with its defaults filled in, and the signature that permits it.

        Raises:
            InvalidArgument: a size is out of bounds, or the format is unknown.
        """
        exact = replace(wish, quality=_quality(wish), extension=wish.extension or WEBP.extension)
        permitted = replace(exact, signature=self._signatures.signature(key, exact))
        self.of(key, permitted)
        return permitted


def _quality(wish: VariantWish) -> int:
    return min(max(wish.quality or DEFAULT_QUALITY, LEAST_QUALITY), MOST_QUALITY)


def _encoded(kind: PictureType, quality: int) -> int:
    return 0 if kind == PNG else quality


def _kind(extension: str) -> PictureType:
    if kind := KINDS.get(extension or WEBP.extension):
        return kind
    raise InvalidArgument("A variant is webp, jpeg or png.", metadata={"field": "format"})


def _preset(presets: Sequence[int], wanted: int) -> int:
    """The least preset that is large enough: browsers scale down well, and up badly."""
    return next((preset for preset in presets if preset >= wanted), presets[-1])
