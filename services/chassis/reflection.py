"""Lets grpcurl and friends see every service: reflection as v1alpha and as v1, which old and new tools ask for."""

from collections.abc import Sequence

import grpc
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

V1 = "grpc.reflection.v1.ServerReflection"


def reflect(server: aio.Server, names: Sequence[str]) -> None:
    """Serve reflection for the named services.

    The library ships v1alpha only; v1's messages are the same on the wire, so the same handler answers there.
    """
    listed = [*names, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(listed, server)
    handler = grpc.stream_stream_rpc_method_handler(
        ReflectionServicer(service_names=listed).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": handler}),))
