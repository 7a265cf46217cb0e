"""Signing keys: each purpose has a key of its own, derived from SIGNING_KEY by HKDF (RFC 5869).

The present key signs. SIGNING_KEY_PREVIOUS, and the keys in files that an older version or a smaller installation has
made, only verify. All replicas of a service need the same key: each schema keeps its fingerprint, and a process with
another key does not start.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from sqlalchemy import MetaData, Table

from services.chassis.addresses import is_loopback
from services.chassis.agreements import agree, agreement_table, forget
from services.chassis.database import Database, open_database
from services.chassis.key_file import KEY_BYTES, read_or_make_key
from services.chassis.settings import CommonSettings, refuse

FILE = "signing.key"
LEAST_LENGTH = 32  # characters; as hex they are 16 random bytes, which nobody finds by trying
LEAST_VARIETY = 8  # different characters; 32 random digits of hex have fewer once in ten million keys
HOW = "Make one with `openssl rand -base64 32`."
SIGNERS = ("storage", "community")  # the services whose processes have the key
AGREEMENT = "signing_key"
FINGERPRINT_BYTES = 8  # enough to tell keys apart


class Purpose(StrEnum):
    """What a key is for; the name goes into the derivation, so it is never changed."""

    UPLOAD_LINK = "upload link"
    VARIANT_URL = "variant URL"
    ERASED_USER = "erased user"


class SigningSettings(CommonSettings):
    """The signing keys, of the processes that sign or verify."""

    signing_key: SecretStr = Field(SecretStr(""))
    """Signs upload links and variant URLs, and names erased users; the same for all replicas. Empty: a key that is made
    once in DATA_DIR/signing.key, on a machine of one's own."""
    signing_key_previous: SecretStr = Field(SecretStr(""))
    """Also accepted, while the key above is being rotated."""

    @field_validator("signing_key", "signing_key_previous")
    @classmethod
    def is_hard_to_guess(cls, value: SecretStr) -> SecretStr:
        """Refuse a key that can be tried out."""
        if (text := value.get_secret_value()) and (problem := weakness(text)):
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _rotated(self) -> Self:
        if (key := self.signing_key.get_secret_value()) and key == self.signing_key_previous.get_secret_value():
            raise ValueError("SIGNING_KEY_PREVIOUS must be another key than SIGNING_KEY, or empty")
        return self


def weakness(text: str) -> str:
    """Why a text is no key; empty when it is one."""
    if len(text) < LEAST_LENGTH:
        return f"must have at least {LEAST_LENGTH} characters. {HOW}"
    if len(set(text)) < LEAST_VARIETY:
        return f"must be random: it has fewer than {LEAST_VARIETY} different characters. {HOW}"
    return ""


@dataclass(frozen=True, repr=False)
class PurposeKeys:
    """The keys of one purpose: the present one signs, all of them verify."""

    present: bytes
    former: tuple[bytes, ...] = ()

    @property
    def all(self) -> tuple[bytes, ...]:
        """Every accepted key, the present one first."""
        return self.present, *self.former

    def sign(self, message: bytes) -> bytes:
        """The HMAC-SHA256 of a message by the present key."""
        return _signature(self.present, message)

    def signatures(self, message: bytes) -> tuple[bytes, ...]:
        """The signatures by which a message is accepted."""
        return tuple(_signature(key, message) for key in self.all)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether one of the keys has signed the message."""
        return any(hmac.compare_digest(signature, accepted) for accepted in self.signatures(message))


class SigningKeys:
    """The present key and the former ones, from which the keys of each purpose are derived."""

    def __init__(self, present: str, former: Sequence[str] = ()) -> None:
        self._present, self._former = present.encode(), tuple(text.encode() for text in former)

    @property
    def fingerprint(self) -> str:
        """What tells the present key from others, and nothing about its value."""
        return _fingerprint(self._present)

    @property
    def former_fingerprints(self) -> tuple[str, ...]:
        """The fingerprints of the keys that only verify."""
        return tuple(map(_fingerprint, self._former))

    def of(self, purpose: Purpose, *also: bytes) -> PurposeKeys:
        """The keys of a purpose; `also` verify too, as they are."""
        derived = (_derived(key, f"kawaii {purpose}", KEY_BYTES) for key in self._former)
        return PurposeKeys(_derived(self._present, f"kawaii {purpose}", KEY_BYTES), (*derived, *also))


def open_signing_keys(settings: SigningSettings) -> SigningKeys:
    """The keys of the settings. Without SIGNING_KEY that of DATA_DIR/signing.key, which is made on loopback.

    A key in that file verifies also after SIGNING_KEY was set.

    Raises:
        SystemExit: there is no key, or the file holds none.
    """
    path = settings.data_dir / FILE
    given = [key.get_secret_value() for key in (settings.signing_key, settings.signing_key_previous)]
    if not given[0] and not is_loopback(str(settings.listen_host)):
        refuse(
            "SIGNING_KEY is not set. A process that listens beyond loopback may have replicas, which need one key. "
            f"{HOW[:-1]}, or take that of {path} if it exists, and set it for every storage and community process."
        )
    kept = _kept(path) if path.exists() or not given[0] else ""
    present, *former = (
        key for key in dict.fromkeys((given[0], kept, given[1]) if given[0] else (kept, given[1])) if key
    )
    return SigningKeys(present, former)


async def require_same_key(database: Database, table: Table, keys: SigningKeys) -> None:
    """Compare the key with that of the other replicas, whose fingerprint the schema keeps.

    A rotated key takes the place of the one before it.

    Raises:
        SystemExit: the others have another key.
        Unavailable: the database is away.
    """
    known = await database.write(agree, table, AGREEMENT, keys.fingerprint, keys.former_fingerprints)
    if known != keys.fingerprint:
        refuse(
            f"SIGNING_KEY (fingerprint {keys.fingerprint}) is not the key of the other replicas, or of the last start "
            f"(fingerprint {known}). Set the same key everywhere; to rotate it, give the former one as "
            "SIGNING_KEY_PREVIOUS. If the former key is lost, run `kawaii signing-key forget`: what it signed is "
            "refused from then on."
        )


def forget_key(service: str, settings: CommonSettings) -> bool:
    """Forget which key a service's replicas have, so that the next to start decides; False when none was known."""

    async def forgotten() -> bool:
        async with open_database(settings, service) as database:
            return await database.write(forget, agreement_table(MetaData()), AGREEMENT)

    return asyncio.run(forgotten())


def former_key(path: Path) -> tuple[bytes, ...]:
    """The key of a file that a version before SIGNING_KEY has made; none without the file.

    Raises:
        SystemExit: the file cannot be read.
    """
    try:
        return (path.read_bytes(),) if path.exists() else ()
    except OSError as error:
        refuse(f"The key file {error.filename} cannot be read: {error.strerror}.")


def _kept(path: Path) -> str:
    try:
        text = read_or_make_key(path)
    except OSError as error:
        refuse(f"The signing key cannot be kept in DATA_DIR: {error.filename}: {error.strerror}. Or set SIGNING_KEY.")
    except UnicodeDecodeError:
        refuse(f"{path} holds no signing key. Restore it, or set SIGNING_KEY. {HOW}")
    if problem := weakness(text):
        refuse(f"{path} holds no signing key, which {problem}")
    return text


def _signature(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, hashlib.sha256)


def _fingerprint(key: bytes) -> str:
    return _derived(key, "kawaii fingerprint", FINGERPRINT_BYTES).hex()


def _derived(key: bytes, purpose: str, length: int) -> bytes:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - 7 MB that only processes with keys load
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - as above

    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose.encode()).derive(key)
