"""Signs upload permissions, so that the public listener can judge a PUT without asking the database."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass

from services.chassis.errors import PermissionDenied

SIGNATURE_BYTES = 32  # HMAC-SHA256


@dataclass(frozen=True)
class Ticket:
    """May bring at most so many bytes for a key until a time, in milliseconds since 1970."""

    key: str
    size: int
    expire_ms: int


class Tickets:
    """Writes tickets as tokens and reads them back; the secret stays on this machine."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, ticket: Ticket) -> str:
        """The ticket with its signature in front, safe in a URL."""
        payload = json.dumps([ticket.key, ticket.size, ticket.expire_ms]).encode()
        return base64.urlsafe_b64encode(self._sign(payload) + payload).rstrip(b"=").decode()

    def ticket(self, token: str, now_ms: int) -> Ticket:
        """The ticket of a token.

        Raises:
            PermissionDenied: we did not sign it, or it expired.
        """
        try:
            signed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            signed = b""
        signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(payload)):
            raise PermissionDenied("This upload link is not one of ours. Ask for a new one.")
        ticket = Ticket(*json.loads(payload))
        if ticket.expire_ms <= now_ms:
            raise PermissionDenied("This upload link has expired. Ask for a new one.")
        return ticket

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, hashlib.sha256)
