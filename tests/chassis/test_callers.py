"""Who may call whom: every process against every method of every service, with real certificates."""

import asyncio
import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import kawaii
import pytest
import structlog
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import REGISTRY

from deploy.cli.authority import Certified, issue, make_authority, write
from services.chassis import callers
from services.chassis.callers import CALLERS, PERSON_FIELDS, PROCESSES, callers_of
from services.chassis.errors import PermissionDenied
from services.chassis.health import Health
from services.chassis.server import Mount, names_of
from services.chassis.status import from_rpc
from services.chassis.tls import InternalTls, dns_name, internal_tls
from tests.chassis.echo import mount as echo_mount
from tests.support.certificates import Authority
from tests.support.servers import serving

ROOT = Path(__file__).parents[2]
OURS = "kawaii."
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
RETRY = "/kawaii.generation.v1.GenerationService/RetryGeneration"
CREATE = "/kawaii.generation.v1.GenerationService/CreateGeneration"


def proto_modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(kawaii.__path__, OURS):
        if found.name.endswith("_pb2"):
            yield importlib.import_module(found.name)


FILES: list[FileDescriptor] = [module.DESCRIPTOR for module in proto_modules()]
SERVICES: list[ServiceDescriptor] = [service for file in FILES for service in file.services_by_name.values()]
METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods
}


def shape_of(method: MethodDescriptor) -> str:
    """stream_unary and the like."""
    return "_".join("stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming))


def handler_of(method: MethodDescriptor) -> grpc.RpcMethodHandler:
    """Answers an empty message, whatever is asked."""
    answer = GetMessageClass(method.output_type)()

    async def unary(_request: Any, _call: object) -> Any:
        return answer

    async def stream(_request: Any, _call: object) -> AsyncIterator[Any]:
        yield answer

    made: grpc.RpcMethodHandler = getattr(grpc, f"{shape_of(method)}_rpc_method_handler")(
        stream if method.server_streaming else unary,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=type(answer).SerializeToString,
    )
    return made


def mount_of(file: FileDescriptor) -> Mount:
    """The services of a proto file, all of whose methods answer."""

    def register(_servicer: object, server: aio.Server) -> None:
        for service in file.services_by_name.values():
            handlers = {method.name: handler_of(method) for method in service.methods}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))

    return Mount(register, None, file)


MOUNTS = [mount_of(file) for file in FILES if file.services_by_name]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.of(tmp_path_factory.mktemp("callers") / "certs")


def tls_of(authority: Authority, process: str) -> InternalTls:
    found = internal_tls(authority.issue(process))
    assert found
    return found


def channel_of(address: str, credentials: grpc.ChannelCredentials, process: str = "storage") -> aio.Channel:
    options = (("grpc.ssl_target_name_override", dns_name(process)), ("grpc.use_local_subchannel_pool", 1))
    return aio.secure_channel(address, credentials, options)


async def outcome(channel: aio.Channel, path: str, shape: str = "unary_unary", asked: bytes = b"") -> str:
    """The reason for which a call is refused; OK when it is not, and else gRPC's code."""

    async def sent() -> AsyncIterator[bytes]:
        yield asked

    call = getattr(channel, shape)(path)(sent() if shape.startswith("stream") else asked, timeout=20)
    try:
        if shape.endswith("unary"):
            await call
        else:
            async for _ in call:
                break
    except aio.AioRpcError as failure:
        error = from_rpc(failure)
        return error.reason if isinstance(error, PermissionDenied) else failure.code().name
    return "OK"


def wanted(path: str, process: str) -> str:
    return "OK" if process in callers_of(path) else "CALLER_NOT_ALLOWED"


async def test_every_process_gets_from_every_method_what_the_table_says(authority: Authority) -> None:
    storage = tls_of(authority, "storage")
    got: dict[tuple[str, str], str] = {}
    async with serving(*MOUNTS, tls=storage) as address:
        for process in PROCESSES:
            async with channel_of(address, tls_of(authority, process).channel_credentials()) as channel:
                answers = await asyncio.gather(
                    *(outcome(channel, path, shape_of(method)) for path, method in METHODS.items())
                )
            got |= {(process, path): answer for path, answer in zip(METHODS, answers, strict=True)}

    assert got == {(process, path): wanted(path, process) for process in PROCESSES for path in METHODS}
    assert {"OK", "CALLER_NOT_ALLOWED"} == set(got.values())


async def told(channel: aio.Channel, path: str, asked: bytes) -> str:
    """What a stream is told. A client that still writes when it is refused may hear INTERNAL (grpc/grpc#36066)."""
    while (heard := await outcome(channel, path, "stream_stream", asked)) == "INTERNAL":
        pass
    return heard


async def test_health_answers_every_peer_and_reflection_the_operator(authority: Authority) -> None:
    names = names_of(MOUNTS)
    asked = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    paths = [REFLECTION, REFLECTION.replace("v1", "v1alpha")]
    said: dict[str, list[str]] = {}
    health = Health(names, [])
    async with serving(*MOUNTS, health=health, tls=tls_of(authority, "storage")) as address:
        for process in PROCESSES:
            async with channel_of(address, tls_of(authority, process).channel_credentials()) as channel:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                said[process] = [await told(channel, path, asked) for path in paths]

    assert said == {process: ["OK" if process == "operator" else "CALLER_NOT_ALLOWED"] * 2 for process in PROCESSES}


@pytest.mark.parametrize("service", [service.full_name for service in SERVICES])
def test_every_service_has_a_row(service: str) -> None:
    assert service in CALLERS


def test_the_documentation_has_the_same_table() -> None:
    text = (ROOT / "docs/internal-tls.md").read_text(encoding="utf-8")
    rows = {match[1]: match[2] for match in re.finditer(r"^\| `(\S+)` \| (.*?) \|$", text, re.MULTILINE)}
    table = CALLERS | PERSON_FIELDS

    assert {row: rows.get(row) for row in table} == {row: ", ".join(sorted(who)) for row, who in table.items()}


def test_every_row_is_of_a_service_or_method_that_exists() -> None:
    known = {service.full_name for service in SERVICES} | {path.removeprefix("/") for path in METHODS}

    assert [row for row in CALLERS if not row.startswith("grpc.") and row not in known] == []
    assert {process for row in CALLERS.values() if row is not callers.ANY_PEER for process in row} <= set(PROCESSES)


def test_only_the_gateway_may_call_what_is_asked_on_behalf_of_a_viewer() -> None:
    asked = {path for path, method in METHODS.items() if "viewer_id" in method.input_type.fields_by_name}

    assert {path: callers_of(path) for path in asked} == {path: {"gateway"} for path in asked}
    assert len(asked) > 20


def test_every_field_that_names_a_person_is_in_a_message_that_is_looked_at() -> None:
    """The messages of a client's stream are not."""
    streamed = [method.input_type for method in METHODS.values() if method.client_streaming]

    assert [message.full_name for message in streamed if set(PERSON_FIELDS) & set(message.fields_by_name)] == []
    assert [
        path for path in (CREATE, RETRY) if not set(PERSON_FIELDS) & set(METHODS[path].input_type.fields_by_name)
    ] == []


@pytest.mark.parametrize("request_", [{"quota_subject": "a person"}, {"quota_subjects": ["", "a person"]}, {}], ids=str)
async def test_a_person_is_believed_of_the_gateway_and_of_the_community(
    authority: Authority, request_: dict[str, Any]
) -> None:
    """The operator may order and retry, for nobody."""
    asked = GetMessageClass(METHODS[CREATE].input_type)(**request_).SerializeToString()
    got: dict[str, str] = {}
    async with serving(*MOUNTS, tls=tls_of(authority, "generation")) as address:
        for process in ("gateway", "community", "operator"):
            credentials = tls_of(authority, process).channel_credentials()
            async with channel_of(address, credentials, "generation") as channel:
                got[process] = await outcome(channel, CREATE, asked=asked)

    operator = "CALLER_NOT_ALLOWED" if request_ else "OK"
    assert got == {"gateway": "OK", "community": "OK", "operator": operator}


def test_only_the_operator_calls_admin_services_but_for_two_reads_of_the_gateway() -> None:
    admin = {path: callers_of(path) for path in METHODS if "AdminService/" in path}

    assert {path: row for path, row in admin.items() if row != {"operator"}} == {
        "/kawaii.generation.v1.GenerationAdminService/ListProviderKeys": {"operator", "gateway"},
        "/kawaii.share.v1.ShareAdminService/ListShareRecords": {"operator", "gateway"},
    }


async def test_what_has_no_row_nobody_may_call(authority: Authority) -> None:
    async def act(text: str) -> str:
        return text

    async with (
        serving(echo_mount(act), tls=tls_of(authority, "storage")) as address,
        channel_of(address, tls_of(authority, "operator").channel_credentials()) as channel,
    ):
        assert await outcome(channel, "/kawaii.test.Echo/unary_unary") == "CALLER_NOT_ALLOWED"


async def test_without_tls_on_loopback_the_table_is_not_applied() -> None:
    async with serving(*MOUNTS) as address, aio.insecure_channel(address) as channel:
        assert await outcome(channel, "/kawaii.share.v1.ShareAdminService/RestoreShare") == "OK"


async def test_a_refusal_says_who_may_call_and_is_logged_and_counted(authority: Authority) -> None:
    path = "/kawaii.share.v1.ShareService/GetShare"
    labels = {"grpc_service": "kawaii.share.v1.ShareService", "grpc_method": "GetShare", "caller": "community"}
    before = REGISTRY.get_sample_value("grpc_server_callers_refused_total", labels) or 0
    async with (
        serving(*MOUNTS, tls=tls_of(authority, "storage")) as address,
        channel_of(address, tls_of(authority, "community").channel_credentials()) as channel,
    ):
        with structlog.testing.capture_logs() as logged, pytest.raises(aio.AioRpcError) as refused:
            await channel.unary_unary(path)(b"")

    error = from_rpc(refused.value)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.message == (
        "The process community may not call kawaii.share.v1.ShareService/GetShare. Its certificate is valid, but only "
        "these may: gateway, operator."
    )
    assert [
        (line["reason"], line["caller"], line["method"]) for line in logged if line["event"] == "request_refused"
    ] == [("CALLER_NOT_ALLOWED", "community", path)]
    assert REGISTRY.get_sample_value("grpc_server_callers_refused_total", labels) == before + 1


def named(authority: Certified, folder: Path, common_name: str, process: str) -> InternalTls:
    """A certificate whose common name is that of one process, and whose DNS name is that of another."""
    made = issue(authority, process, 1, common_name=common_name)
    write(folder, "leaf", made)
    write(folder, "ca", authority)
    return InternalTls(folder / "leaf.crt", folder / "leaf.key", folder / "ca.crt")


async def test_the_common_name_does_not_count(tmp_path: Path) -> None:
    authority = make_authority(1)
    storage = named(authority, tmp_path / "storage", "storage", "storage")
    posing = named(authority, tmp_path / "posing", "gateway", "share")
    path = "/kawaii.share.v1.ShareService/GetShare"

    async with (
        serving(*MOUNTS, tls=storage) as address,
        channel_of(address, posing.channel_credentials()) as channel,
    ):
        assert await outcome(channel, path) == "CALLER_NOT_ALLOWED"
