"""The RPC metrics of every process, under the names that dashboards for gRPC servers expect."""

import grpc
from prometheus_client import Counter, Histogram, disable_created_metrics

# They would add a series to each counter that nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no types for it

METHOD = ("grpc_service", "grpc_method")

STARTED = Counter("grpc_server_started_total", "RPCs that were begun.", METHOD)
HANDLED = Counter("grpc_server_handled_total", "RPCs that ended, by the code they ended with.", (*METHOD, "grpc_code"))
SECONDS = Histogram("grpc_server_handling_seconds", "How long RPCs took; a stream lasts as long as its reader.", METHOD)


def rpc_started(method: str) -> None:
    """Count a call, named as on the wire: /package.Service/Method."""
    STARTED.labels(*parts(method)).inc()


def rpc_ended(method: str, code: grpc.StatusCode, seconds: float) -> None:
    """Count how a call ended, and how long it took."""
    HANDLED.labels(*parts(method), code.name).inc()
    SECONDS.labels(*parts(method)).observe(seconds)


def parts(method: str) -> tuple[str, str]:
    """The service and the method of /package.Service/Method."""
    service, _, name = method.removeprefix("/").rpartition("/")
    return service, name
