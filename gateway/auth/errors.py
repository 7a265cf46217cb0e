"""The errors of authentication, with their sentences."""

from services.chassis.errors import PermissionDenied, Unauthenticated, Unavailable


def auth_required() -> Unauthenticated:
    """NoSignIn is signed in."""
    return Unauthenticated("Sign in first: this needs a token.", "AUTH_REQUIRED")


def invalid_token(sentence: str) -> Unauthenticated:
    """A token came, and it is not good."""
    return Unauthenticated(f"{sentence} Sign in again.", "INVALID_TOKEN")


def sign_in_off() -> Unauthenticated:
    """NoSignIn can sign in, because the operator has configured neither tokens nor development identity."""
    return Unauthenticated(
        "NoSignIn can sign in here yet: the operator of this site has to configure sign-in "
        "(AUTH_HS256_SECRET or AUTH_JWKS_URL).",
        "SIGN_IN_OFF",
    )


def foreign_host() -> PermissionDenied:
    """A request under another name than this machine's own, as DNS rebinding or a proxy makes it."""
    return PermissionDenied(
        "Development identity is only for this machine: open the site at localhost, or configure sign-in.",
        "FOREIGN_HOST",
    )


def foreign_page() -> PermissionDenied:
    """A page of another site used this browser's cookie."""
    return PermissionDenied("This request came from a page that may not act in your name.", "FORBIDDEN")


def unavailable(retry_after: float | None = None) -> Unavailable:
    """The error while nobody can tell whose a token is."""
    sentence = "The sign-in service cannot be reached. Try again shortly."
    return Unavailable(sentence, "AUTH_UNAVAILABLE", retry_after=retry_after)
