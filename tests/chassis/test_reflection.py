"""grpcurl and friends see every service, by the old and the new name of reflection."""

import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.chassis.echo import SERVICE, echoing

NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


async def ask(
    reflection: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    """One question by a raw stream call."""

    async def act(text: str) -> str:
        return text

    async with echoing(act) as client:
        call = client.channel.stream_stream(
            f"/{reflection}/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(request)
        answer = await call.read()
        await call.done_writing()
    return answer


@pytest.mark.parametrize("reflection", NAMES)
async def test_every_service_is_listed(reflection: str) -> None:
    answer = await ask(reflection, reflection_pb2.ServerReflectionRequest(list_services=""))

    listed = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health", NAMES[1]} <= listed


@pytest.mark.parametrize("reflection", NAMES)
async def test_a_service_is_described(reflection: str) -> None:
    answer = await ask(reflection, reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE))

    (first, *_) = answer.file_descriptor_response.file_descriptor_proto
    file = descriptor_pb2.FileDescriptorProto.FromString(first)
    assert [method.name for method in file.service[0].method] == [
        "unary_unary",
        "stream_unary",
        "unary_stream",
        "stream_stream",
    ]
