"""Users, their reports, and the receipts of their erasures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claims:
    """The claims of a verified token; empty where it has none."""

    display_name: str = ""
    email: str = ""
    picture_uri: str = ""


@dataclass(frozen=True)
class User:
    """A user; the id is the token's subject. Times are epoch ms."""

    id: str
    display_name: str = ""
    email: str = ""
    picture_uri: str = ""
    hide_name: bool = False
    hide_email: bool = True
    create_ms: int = 0
    update_ms: int = 0


@dataclass(frozen=True)
class Report:
    """A user's report about an artwork."""

    artwork_id: str
    user_id: str
    reason: str
    hidden: bool = False
    create_ms: int = 0


@dataclass(frozen=True)
class Erasure:
    """The receipt of an erasure: counts without personal data."""

    id: str
    artwork_count: int = 0
    like_count: int = 0
    favorite_count: int = 0
    object_count: int = 0
    remaining_count: int = 0
    create_ms: int = 0
