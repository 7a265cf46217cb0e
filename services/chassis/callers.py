"""Who may call whom: one table, held by the peer's certificate on every call that comes over TLS.

A row names a gRPC service, or one of its methods where it differs, and the processes that may call it. What has no row
nobody may call. On loopback without TLS nobody has a certificate, and the table is not applied.

Services believe a request about the person that it names, because the gateway has verified their token. So the fields
that name one are the gateway's: viewer_id of the community's services, and the persons whom an order counts for, which
the community passes on.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from prometheus_client import Counter

from services.chassis.errors import PermissionDenied
from services.chassis.interceptors import Context
from services.chassis.tls import DOMAIN

GATEWAY, GENERATION, STORAGE, SHARE, COMMUNITY = "gateway", "generation", "storage", "share", "community"
ENVOY, OPERATOR = "envoy", "operator"
PROCESSES = (GATEWAY, GENERATION, STORAGE, SHARE, COMMUNITY, ENVOY, OPERATOR)
ANY_PEER = frozenset({"any peer with a certificate"})

Callers = frozenset[str]

GENERATIONS = "kawaii.generation.v1.GenerationService"
GENERATION_ADMIN = "kawaii.generation.v1.GenerationAdminService"
OBJECTS = "kawaii.storage.v1.StorageService"
SHARES = "kawaii.share.v1.ShareService"
SHARE_ADMIN = "kawaii.share.v1.ShareAdminService"


def only(*processes: str) -> Callers:
    """The processes of a row."""
    return frozenset(processes)


CALLERS: dict[str, Callers] = {
    GENERATIONS: only(GATEWAY, OPERATOR),
    f"{GENERATIONS}/CreateGeneration": only(GATEWAY, COMMUNITY, OPERATOR),
    f"{GENERATIONS}/GetGeneration": only(GATEWAY, COMMUNITY, OPERATOR),
    f"{GENERATIONS}/FindGeneration": only(GATEWAY, COMMUNITY, OPERATOR),
    f"{GENERATIONS}/ForgetGeneration": only(COMMUNITY),  # its step when it erases a person
    f"{GENERATIONS}/WatchEvents": only(COMMUNITY, OPERATOR),
    f"{GENERATIONS}/ReceiveCallback": only(GATEWAY),  # what a provider sent to the site
    GENERATION_ADMIN: only(OPERATOR),
    f"{GENERATION_ADMIN}/ListProviderKeys": only(GATEWAY, OPERATOR),  # whether one is in use, for /api/health
    OBJECTS: only(GATEWAY, OPERATOR),
    f"{OBJECTS}/ImportObject": only(GATEWAY, GENERATION, COMMUNITY, OPERATOR),
    f"{OBJECTS}/CheckSource": only(GENERATION, OPERATOR),
    f"{OBJECTS}/DeleteObject": only(GATEWAY, COMMUNITY, OPERATOR),
    "kawaii.storage.v1.StorageAdminService": only(OPERATOR),
    SHARES: only(GATEWAY, OPERATOR),
    SHARE_ADMIN: only(OPERATOR),
    f"{SHARE_ADMIN}/ListShareRecords": only(GATEWAY, OPERATOR),  # /api/export, for whoever has EXPORT_TOKEN
    "kawaii.community.v1.ArtworkService": only(GATEWAY),
    "kawaii.community.v1.UserService": only(GATEWAY),
    "kawaii.community.v1.CreditService": only(GATEWAY),
    "kawaii.community.v1.CommunityAdminService": only(OPERATOR),
    "grpc.health.v1.Health": ANY_PEER,
    "grpc.reflection.v1.ServerReflection": only(OPERATOR),
    "grpc.reflection.v1alpha.ServerReflection": only(OPERATOR),
}

PERSON_FIELDS: dict[str, Callers] = {
    "viewer_id": only(GATEWAY),
    "quota_subject": only(GATEWAY, COMMUNITY),
    "quota_subjects": only(GATEWAY, COMMUNITY),
}
"""Fields of a request by which a service believes who a person is, and the processes that may fill them."""

REFUSED = Counter(
    "grpc_server_callers_refused_total",
    "RPCs that a process with a valid certificate may not call, by that process.",
    ("grpc_service", "grpc_method", "caller"),
)
STRANGER = "unknown"  # for a metric's label, which a certificate must not choose
SECURED = [b"ssl"]  # how gRPC says in a call's context that it came over TLS

logger = structlog.get_logger()


@asynccontextmanager
async def authorized(method: str, request: Any, call: Context) -> AsyncIterator[None]:
    """Run the calls of those who may make them.

    Raises:
        PermissionDenied: the peer's certificate names no process that may call the method, or fill a field of the
            request (reason CALLER_NOT_ALLOWED).
    """
    context = call.auth_context()
    if context.get("transport_security_type") == SECURED:
        authorize(method, request, processes_in(context.get("peer_dns", ())))
    yield


def authorize(method: str, request: Any, peers: Callers) -> None:
    """Refuse what none of these processes may call, or say. Raises PermissionDenied."""
    allowed = callers_of(method)
    if allowed is not ANY_PEER and allowed.isdisjoint(peers):
        raise _refusal(method, peers, allowed)
    for field, speakers in PERSON_FIELDS.items():
        if getattr(request, field, None) and speakers.isdisjoint(peers):
            raise _refusal(method, peers, speakers, field)


def processes_in(names: Iterable[bytes]) -> Callers:
    """The processes that the DNS names of a certificate stand for."""
    end = f".{DOMAIN}"
    texts = (name.decode("ascii", "replace") for name in names)
    return frozenset(text.removesuffix(end) for text in texts if text.endswith(end))


def callers_of(method: str) -> Callers:
    """Who may call a method, given as on the wire: /package.Service/Method. Nobody when it has no row."""
    path = method.removeprefix("/")
    return CALLERS.get(path) or CALLERS.get(path.rpartition("/")[0], frozenset())


def _refusal(method: str, peers: Callers, allowed: Callers, field: str = "") -> PermissionDenied:
    caller = next((process for process in PROCESSES if process in peers), STRANGER)
    service, _, name = method.removeprefix("/").rpartition("/")
    REFUSED.labels(service, name, caller).inc()
    logger.warning("request_refused", reason="CALLER_NOT_ALLOWED", caller=caller, method=method, field=field)
    may_not = f"may not name a person in {field} of" if field else "may not call"
    sentence = (
        f"The process {caller} {may_not} {service}/{name}. Its certificate is valid, but only these may: "
        f"{', '.join(sorted(allowed)) or 'none'}."
    )
    return PermissionDenied(sentence, "CALLER_NOT_ALLOWED", metadata={"caller": caller})
