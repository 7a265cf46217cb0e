"""Every way we know to make a bad token, refused; and the good ones, believed."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.auth.jwks import JwksKeys, signing_keys
from gateway.auth.tokens import SharedSecret, Trust
from services.chassis.errors import Unauthenticated
from tests.gateway.auth.issuer import AUDIENCE, ISSUER, SECRET, SignIn, claims, encoded, jwk

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
DER = RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
SET = {"keys": [jwk(RSA.public_key(), "rsa"), jwk(CURVE.public_key(), "curve")]}


async def published() -> dict[str, object]:
    return dict(SET)


SHARED = Trust(SharedSecret(SECRET), (ISSUER,), AUDIENCE)
PUBLISHED = Trust(JwksKeys(published, time.monotonic), (ISSUER,), AUDIENCE)


def shared(header: dict[str, object] | None = None, **changes: object) -> str:
    """A token of the shared secret."""
    return jwt.encode(claims(**changes), SECRET, algorithm="HS256", headers=header)


def by_key(key: object, algorithm: str, kid: object, **changes: object) -> str:
    """A token of a published key."""
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": kid})  # type: ignore[arg-type,dict-item] # bad on purpose


def forged(header: object, payload: object, signature: bytes) -> str:
    """A token whose parts are put together by hand."""
    return f"{encoded(header)}.{encoded(payload)}.{encoded(signature)}"


def hmac_token(header: object, payload: object, key: bytes) -> str:
    """A token whose signature is an honest HMAC of whatever it carries."""
    signed = f"{encoded(header)}.{encoded(payload)}"
    return f"{signed}.{encoded(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def about_time() -> Iterator[tuple[str, dict[str, object]]]:
    now = int(time.time())
    for name, value in {
        "expired": now - 3600,
        "expired long ago": 1,
        "expires at zero": 0,
        "expires before time": -1,
        "expires as text": "never",
        "expires as list": [now + 600],
        "expires as object": {"at": now + 600},
    }.items():
        yield name, {"exp": value}
    yield "never expires", {"exp": None}
    yield "not yet", {"nbf": now + 3600}
    yield "not yet as text", {"nbf": "soon"}
    yield "issued in the future", {"iat": now + 3600}
    yield "issued as text", {"iat": "today"}


def about_claims() -> Iterator[tuple[str, dict[str, object]]]:
    for issuer in (
        "https://evil.example",
        f"{ISSUER}/",
        ISSUER.upper(),
        f"{ISSUER}.evil.example",
        "",
        None,
        7,
        [ISSUER],
    ):
        yield f"issuer {issuer!r}", {"iss": issuer}
    for audience in ("another-site", f"{AUDIENCE}2", "", None, 7, ["another-site"], [], {AUDIENCE: 1}):
        yield f"audience {audience!r}", {"aud": audience}
    for subject in (None, "", " ", 7, ["user_1"], {"id": "user_1"}, True):
        yield f"subject {subject!r}", {"sub": subject}


CLAIMS = [*about_time(), *about_claims()]
GOOD = claims()
HS256 = {"alg": "HS256", "typ": "JWT"}
SHAPES = {
    "empty": "",
    "one part": "abc",
    "two parts": "abc.def",
    "four parts": f"{shared()}.abc",
    "dots only": "..",
    "not base64": "!!!.???.***",
    "spaces within": shared().replace(".", " . "),
    "not json": forged(b"{", GOOD, b""),
    "header is a list": forged([], GOOD, b"x"),
    "header is a number": forged(7, GOOD, b"x"),
    "payload is a list": hmac_token(HS256, [], SECRET.encode()),
    "payload is text": hmac_token(HS256, "me", SECRET.encode()),
    "payload is not json": hmac_token(HS256, b"{", SECRET.encode()),
    "payload is not utf-8": hmac_token(HS256, b"\xff\xfe", SECRET.encode()),
    "one megabyte": shared(name="x" * 1_000_000),
    "deeply nested header": forged(b"[" * 3000, GOOD, b""),
    "no algorithm": hmac_token({"typ": "JWT"}, GOOD, SECRET.encode()),
    "algorithm none": forged({"alg": "none"}, GOOD, b""),
    "algorithm None": forged({"alg": "None"}, GOOD, b""),
    "algorithm nOnE signed": hmac_token({"alg": "nOnE"}, GOOD, SECRET.encode()),
    "algorithm as list": hmac_token({"alg": ["HS256"]}, GOOD, SECRET.encode()),
    "algorithm null": hmac_token({"alg": None}, GOOD, SECRET.encode()),
    "algorithm hs256": hmac_token({"alg": "hs256"}, GOOD, SECRET.encode()),
    "algorithm unknown": hmac_token({"alg": "XX999"}, GOOD, SECRET.encode()),
    "algorithm RS256 over an HMAC": hmac_token({"alg": "RS256", "kid": "rsa"}, GOOD, PEM),
    "HMAC with the public key as PEM": hmac_token(HS256 | {"kid": "rsa"}, GOOD, PEM),
    "HMAC with the public key as DER": hmac_token(HS256 | {"kid": "rsa"}, GOOD, DER),
    "HMAC with nothing": hmac_token(HS256, GOOD, b""),
    "HMAC with another secret": hmac_token(HS256, GOOD, b"another secret of a good length indeed"),
    "HMAC with the secret in capitals": hmac_token(HS256, GOOD, SECRET.upper().encode()),
    "HS384": jwt.encode(GOOD, SECRET * 2, algorithm="HS384"),
    "HS512": jwt.encode(GOOD, SECRET * 2, algorithm="HS512"),
    "empty signature": ".".join([*shared().split(".")[:2], ""]),
    "cut signature": shared()[:-8],
    "longer signature": f"{shared()}AAAA",
    "signature of another": ".".join([*shared().split(".")[:2], shared(sub="other").split(".")[2]]),
    "payload of another": ".".join([shared().split(".")[0], encoded(claims(sub="victim")), shared().split(".")[2]]),
    "critical extension": shared({"crit": ["exp"], "exp": 1}),
    "critical unknown": shared({"crit": ["b64"], "b64": False}),
    "duplicate subject": hmac_token(HS256, json.dumps(GOOD)[:-1].encode() + b', "sub": "victim"}', SECRET.encode()),
    "psychic signature": forged({"alg": "ES256", "kid": "curve"}, GOOD, bytes(64)),
    "unknown key": by_key(OTHER_RSA, "RS256", "elsewhere"),
    "another's key under our id": by_key(OTHER_RSA, "RS256", "rsa"),
    "key id of a path": by_key(OTHER_RSA, "RS256", "../../dev/null"),
    "key id of SQL": by_key(OTHER_RSA, "RS256", "' OR 1=1 --"),
    "key id empty": by_key(OTHER_RSA, "RS256", ""),
    "key id absent": jwt.encode(GOOD, RSA, algorithm="RS256"),
    "key id a number": forged({"alg": "RS256", "kid": 7}, GOOD, b"x"),
    "right key, wrong algorithm": by_key(RSA, "RS512", "rsa"),
    "right key, PSS": by_key(RSA, "PS256", "rsa"),
    "curve key under the RSA id": by_key(CURVE, "ES256", "rsa"),
    "key brought along": jwt.encode(
        GOOD, OTHER_RSA, algorithm="RS256", headers={"kid": "x", "jwk": jwk(OTHER_RSA.public_key(), "x")}
    ),
    "key named by URL": jwt.encode(
        GOOD, OTHER_RSA, algorithm="RS256", headers={"kid": "x", "jku": "https://evil.example/keys"}
    ),
    "certificate named by URL": jwt.encode(
        GOOD, OTHER_RSA, algorithm="RS256", headers={"kid": "x", "x5u": "https://evil.example"}
    ),
}


def both(name: str) -> Iterator[tuple[str, Trust, str]]:
    yield f"{name}, by the secret", SHARED, SHAPES[name]
    yield f"{name}, by published keys", PUBLISHED, SHAPES[name]


def bad() -> list[tuple[str, Trust, str]]:
    """Every bad token with the trust it is shown to."""
    by_secret = [(name, SHARED, hmac_token(HS256, claims(**changes), SECRET.encode())) for name, changes in CLAIMS]
    return [*(case for name in SHAPES for case in both(name)), *by_secret]


BAD = bad()


@pytest.mark.parametrize(("trust", "token"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_refuses(trust: Trust, token: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await trust.claims(token)

    assert refused.value.reason == "INVALID_TOKEN"


def test_there_are_enough_bad_ones() -> None:
    assert len({case[2] for case in BAD}) >= 80


async def test_believes_the_secret() -> None:
    assert (await SHARED.claims(shared()))["sub"] == "user_1"


async def test_believes_published_keys_of_both_kinds() -> None:
    assert (await PUBLISHED.claims(by_key(RSA, "RS256", "rsa")))["sub"] == "user_1"
    assert (await PUBLISHED.claims(by_key(CURVE, "ES256", "curve")))["sub"] == "user_1"


async def test_allows_clocks_to_differ_by_half_a_minute() -> None:
    now = int(time.time())

    assert await SHARED.claims(shared(exp=now - 30, iat=now - 600))


def test_a_published_secret_is_no_key() -> None:
    leaked = {"kty": "oct", "kid": "leak", "k": encoded(SECRET.encode()), "alg": "HS256"}

    assert signing_keys({"keys": [leaked, {"kty": "RSA"}, "junk", {}]}) == {}
    assert signing_keys({"keys": "junk"}) == {}


def test_keys_for_encryption_sign_nothing() -> None:
    assert signing_keys({"keys": [jwk(RSA.public_key(), "rsa", use="enc")]}) == {}


def test_a_sign_in_service_publishes_what_it_signs_with() -> None:
    service = SignIn()
    service.rotate("one")

    assert set(signing_keys(service.published())) == {"one"}
