"""Signed upload tokens, which the public listener verifies without asking the database."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass

from services.chassis.errors import PermissionDenied

SIGNATURE_BYTES = 32  # HMAC-SHA256


@dataclass(frozen=True)
class UploadToken:
    """Permission to upload `size` bytes for a key until a time, in milliseconds since 1970."""

    key: str
    size: int
    expire_ms: int


class UploadTokens:
    """Signs and verifies upload tokens by HMAC-SHA256; the secret stays on this machine."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def signed(self, token: UploadToken) -> str:
        """The text of a token with its signature in front, safe in a URL."""
        payload = json.dumps([token.key, token.size, token.expire_ms]).encode()
        return base64.urlsafe_b64encode(self._sign(payload) + payload).rstrip(b"=").decode()

    def verified(self, text: str, now_ms: int) -> UploadToken:
        """The token of a text.

        Raises:
            PermissionDenied: the signature is not ours, or the token has expired.
        """
        try:
            signed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            signed = b""
        signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload)):
            raise PermissionDenied("This upload link is not one of ours. Ask for a new one.")
        token = UploadToken(*json.loads(payload))
        if token.expire_ms <= now_ms:
            raise PermissionDenied("This upload link has expired. Ask for a new one.")
        return token

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, hashlib.sha256)
