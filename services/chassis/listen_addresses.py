"""Where each process listens, derived from one base port so that stacks can run side by side."""

from enum import IntEnum


class ListenPort(IntEnum):
    """Offset of each listener from INTERNAL_PORT_BASE."""

    GATEWAY = 0
    GENERATION = 1
    STORAGE = 2
    SHARE = 3
    COMMUNITY = 4
    FILES = 5  # the storage service's HTTP listener for public bytes
    SANDBOX = 6
    VALKEY = 7
    GATEWAY_METRICS = 10  # a process's metrics are ten above the process
    GENERATION_METRICS = 11
    STORAGE_METRICS = 12
    SHARE_METRICS = 13
    COMMUNITY_METRICS = 14


LOOPBACK = "127.0.0.1"


def port_of(listener: ListenPort, base: int) -> int:
    """The port a process listens on."""
    return base + listener


def address_of(listener: ListenPort, base: int) -> str:
    """Host and port of a process, as gRPC and URLs take them."""
    return f"{LOOPBACK}:{port_of(listener, base)}"
