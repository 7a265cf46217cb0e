"""Signs wishes for variants, so that only those whom we permit choose sizes beyond the presets."""

import base64
import hashlib
import hmac

from services.storage.model import VariantWish


class Seals:
    """Writes and checks signatures; the secret stays on this machine."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def signature(self, key: str, wish: VariantWish) -> str:
        """The signature of a wish for a variant of an object, safe in a URL."""
        text = "\0".join(map(str, ("variant", key, wish.width, wish.height, wish.quality, wish.extension)))
        digest = hmac.digest(self._secret, text.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def holds(self, key: str, wish: VariantWish) -> bool:
        """Whether the signature that a wish carries is ours for just this."""
        return hmac.compare_digest(self.signature(key, wish).encode(), wish.signature.encode())
