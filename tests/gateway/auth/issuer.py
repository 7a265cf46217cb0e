"""A sign-in service for the tests: keys it can rotate, tokens it signs, and a set it publishes over HTTP."""

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE = "https://id.example", "kawaii-site"
SECRET = "a-shared-secret-that-is-long-enough-to-sign"


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims; a change to None removes one."""
    now = int(time.time())
    good = {"sub": "user_1", "name": "Mei", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600}
    return {name: value for name, value in (good | changes).items() if value is not None}


def encoded(part: object) -> str:
    """A part of a token as it travels."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class SignIn:
    """Published keys by id, and how often somebody read them."""

    keys: dict[str, Any] = field(default_factory=dict)
    reads: int = 0
    down: bool = False
    empty: bool = False

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on; the old ones stay published."""
        self.keys[key_id] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, key_id: str, **changes: Any) -> str:
        """A token signed by a key of ours."""
        return jwt.encode(claims(**changes), self.keys[key_id], algorithm="RS256", headers={"kid": key_id})

    def published(self) -> Mapping[str, Any]:
        """The key set."""
        if self.empty:
            return {}
        return {"keys": [jwk(key.public_key(), key_id) for key_id, key in self.keys.items()]}


def jwk(public: Any, key_id: str, **more: str) -> dict[str, Any]:
    """A public key as it is published."""
    algorithm = (
        jwt.algorithms.ECAlgorithm if isinstance(public, ec.EllipticCurvePublicKey) else jwt.algorithms.RSAAlgorithm
    )
    return algorithm.to_jwk(public, as_dict=True) | {"kid": key_id, "use": "sig"} | more


@asynccontextmanager
async def publishing(service: SignIn) -> AsyncIterator[str]:
    """The URL at which a sign-in service publishes its keys."""

    async def answer(_request: web.Request) -> web.Response:
        service.reads += 1
        return web.json_response(service.published(), status=503 if service.down else 200)

    app = web.Application()
    app.router.add_get("/keys", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    finally:
        await runner.cleanup()
