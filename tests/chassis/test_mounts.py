"""A process may serve several services: each is called, listed and watched by its own name."""

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc

from services.chassis.health import Health
from services.chassis.server import Mount, names_of
from tests.chassis.echo import SERVICE, Client, mount
from tests.support.servers import serving

ADMIN = "kawaii.generation.v1.GenerationAdminService"


async def one_key(_servicer: object, _request: object, _call: object) -> generationadminpb.ListProviderKeysResponse:
    return generationadminpb.ListProviderKeysResponse(
        provider_keys=[generationadminpb.ProviderKey(name="providerKeys/1")]
    )


Admin = type("Admin", (generationadminrpc.GenerationAdminServiceServicer,), {"ListProviderKeys": one_key})


async def repeat(text: str) -> str:
    return text


async def test_every_mounted_service_is_served_listed_and_healthy() -> None:
    admin = Mount(
        generationadminrpc.add_GenerationAdminServiceServicer_to_server, Admin(), generationadminpb.DESCRIPTOR
    )
    mounts = [mount(repeat), admin]
    health = Health(names_of(mounts), [])
    async with serving(*mounts, health=health) as address, aio.insecure_channel(address) as channel:
        await health.check()
        echoed = await Client(channel).ask("unary_unary", "hello")
        listed = await generationadminrpc.GenerationAdminServiceStub(channel).ListProviderKeys(
            generationadminpb.ListProviderKeysRequest()
        )
        checks = [health_pb2.HealthCheckRequest(service=service) for service in ("", SERVICE, ADMIN)]
        states = [(await health_pb2_grpc.HealthStub(channel).Check(check)).status for check in checks]
        names = await reflected(channel)

    assert (echoed, len(listed.provider_keys)) == ("hello", 1)
    assert states == [health_pb2.HealthCheckResponse.SERVING] * 3
    assert {SERVICE, ADMIN} <= names


async def reflected(channel: aio.Channel) -> set[str]:
    """What reflection lists."""
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    await call.done_writing()
    return {service.name for service in answer.list_services_response.service}
