"""Refuses pictures to start from that lie in private networks: the provider would fetch them for a stranger."""

from collections.abc import Sequence
from ipaddress import ip_address

from services.chassis.errors import InvalidArgument
from services.chassis.files import PublicFiles
from services.chassis.names import host_of

PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".lan")


def check_public(uris: Sequence[str], files: PublicFiles) -> None:
    """Pass our own files and public hosts.

    The provider does the fetching, so names are not resolved here: what they mean to us is not what they mean to it.

    Raises:
        InvalidArgument: a URL names a private address or a name that exists in private networks only.
    """
    for uri in uris:
        if not files.key(uri) and is_private(host_of(uri)):
            sentence = "A picture to start from must lie on the public internet, or be one of our own files."
            raise InvalidArgument(sentence, metadata={"field": "image_uris"})


def is_private(host: str) -> bool:
    """True for addresses that are not global, however they are written, and for names without a public meaning."""
    try:
        return not ip_address(host.strip("[]")).is_global
    except ValueError:
        name = f".{host.rstrip('.').lower()}"
        return name.endswith(PRIVATE_NAMES) or name.count(".") == 1 or name.rpartition(".")[2].isdigit()
