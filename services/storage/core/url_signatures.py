"""Signatures of variant URLs, which permit sizes beyond the presets."""

import base64
import hashlib
import hmac

from services.storage.model import VariantWish


class UrlSignatures:
    """Makes and verifies signatures by HMAC-SHA256; the secret stays on this machine."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def signature(self, key: str, wish: VariantWish) -> str:
        """The signature of a wish for a variant of an object, safe in a URL."""
        text = "\0".join(map(str, ("variant", key, wish.width, wish.height, wish.quality, wish.extension)))
        digest = hmac.digest(self._secret, text.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def is_valid(self, key: str, wish: VariantWish) -> bool:
        """Whether a wish carries our signature for exactly this variant of this object."""
        return hmac.compare_digest(self.signature(key, wish).encode(), wish.signature.encode())
