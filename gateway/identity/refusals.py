"""Words the refusals of identity."""

from services.chassis.errors import PermissionDenied, Unauthenticated


def auth_required() -> Unauthenticated:
    """Nobody is signed in."""
    return Unauthenticated("Sign in first: this needs a token.", "AUTH_REQUIRED")


def invalid_token(sentence: str) -> Unauthenticated:
    """A token came, and it is not good."""
    return Unauthenticated(f"{sentence} Sign in again.", "INVALID_TOKEN")


def foreign_page() -> PermissionDenied:
    """A page of another site used this browser's cookie."""
    return PermissionDenied("This request came from a page that may not act in your name.", "FORBIDDEN")
