"""Page tokens that an earlier release handed out still lead on."""

from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.generation.wire import generations
from tests.generation.builders import new

FILTERED = generationpb.ListGenerationsRequest(states=[3, 1], start_time=Timestamp(seconds=1700000000, nanos=123000000))


@pytest.mark.parametrize(
    ("request_", "create_ms", "identifier", "token"),
    [
        (FILTERED, 1700000000456, "gen_01jx", "MTcwMDAwMDAwMDQ1NnxnZW5fMDFqeHwwNDNiYTNhNg=="),
        (generationpb.ListGenerationsRequest(), 5, "gen_1", "NXxnZW5fMXw3MWYwZjFmMw=="),
    ],
)
def test_a_token_of_an_earlier_release_still_leads_on(
    request_: generationpb.ListGenerationsRequest, create_ms: int, identifier: str, token: str
) -> None:
    following = generationpb.ListGenerationsRequest()
    following.CopyFrom(request_)
    following.page_token = token

    assert generations.page_token(request_, replace(new(), create_ms=create_ms, id=identifier)) == token
    assert generations.page(following).after == (create_ms, identifier)
