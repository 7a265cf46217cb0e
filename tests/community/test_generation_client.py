"""The generation client over a real channel to a fake service: what each answer means for an order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis import errors
from services.chassis.public_files import PublicFiles
from services.chassis.server import Mount
from services.community.generation_client import STATES, GenerationClient
from services.community.model import GenerationStatus, OrderState, Quota, Refused, Request, Unclear
from tests.community.fake_generation_servicer import ScriptedGenerationServicer, States, generation
from tests.support.servers import serving

REQUEST = Request("a cat", "m", "1:1", "png", ("uploads/1-a.png", "https://a.example/b.png"), {"nVariants": 1})


@pytest.fixture
def generation_servicer() -> ScriptedGenerationServicer:
    return ScriptedGenerationServicer()


@pytest.fixture
async def remote(generation_servicer: ScriptedGenerationServicer) -> AsyncIterator[GenerationClient]:
    async with served(generation_servicer) as channel:
        yield GenerationClient(channel, PublicFiles("https://site.example/files"))


@asynccontextmanager
async def served(generation_servicer: ScriptedGenerationServicer) -> AsyncIterator[aio.Channel]:
    """A channel to the fake service, on a real port."""
    mount = Mount(generationrpc.add_GenerationServiceServicer_to_server, generation_servicer, generationpb.DESCRIPTOR)
    async with serving(mount) as address, aio.insecure_channel(address) as channel:
        yield channel


async def test_an_order_is_placed_with_all_that_it_says(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer
) -> None:
    assert await remote.place(REQUEST, "ord_1") == GenerationStatus("gen_1", OrderState.RUNNING, "task_1")

    (asked,) = generation_servicer.asked
    draft = asked.generation
    assert (asked.request_id, draft.model, draft.prompt, draft.aspect_ratio) == ("ord_1", "m", "a cat", "1:1")
    assert list(draft.image_uris) == ["https://site.example/files/uploads/1-a.png", "https://a.example/b.png"]
    assert dict(draft.parameters) == {"nVariants": 1}


FUTURE = 99  # a state that a newer release of generation may tell of
KEY = "objects/generated/gen_1/0.png"


@pytest.mark.parametrize(
    ("answer", "state", "key", "reason"),
    [
        (generation(States.STATE_READY), OrderState.PENDING, "", ""),
        (generation(States.STATE_AMBIGUOUS), OrderState.RUNNING, "", ""),
        (generation(States.STATE_STORING, object_=KEY), OrderState.RUNNING, "", ""),
        (generation(States.STATE_SUCCEEDED, object_=KEY), OrderState.SUCCEEDED, "generated/gen_1/0.png", ""),
        (generation(States.STATE_SUCCEEDED), OrderState.FAILED, "", "RESULT_LOST"),
        (generation(States.STATE_FAILED, error="PROVIDER_REJECTED"), OrderState.FAILED, "", "PROVIDER_REJECTED"),
        (generation(States.STATE_UNKNOWN), OrderState.TIMED_OUT, "", "TIMED_OUT"),
        (generation(States.STATE_EXPIRED), OrderState.FAILED, "", "EXPIRED"),
        (generation(FUTURE), OrderState.RUNNING, "", ""),
        (generation(States.STATE_CANCELED), OrderState.FAILED, "", "CANCELED"),
        (generation(States.STATE_RESULT_LOST), OrderState.FAILED, "", "RESULT_LOST"),
        (errors.NotFound("There is no such generation."), OrderState.FAILED, "", "GENERATION_GONE"),
    ],
)
async def test_what_a_generation_means_for_an_order(
    remote: GenerationClient,
    generation_servicer: ScriptedGenerationServicer,
    answer: generationpb.Generation | Exception,
    state: OrderState,
    key: str,
    reason: str,
) -> None:
    generation_servicer.answer = answer

    status = await remote.get("gen_1")

    assert isinstance(status, GenerationStatus)
    assert (status.state, status.object_key, status.reason, bool(status.message)) == (state, key, reason, bool(reason))


def test_no_state_of_a_generation_is_unknown_to_us() -> None:
    assert set(STATES) == set(States.State.values()) - {States.STATE_UNSPECIFIED}


@pytest.mark.parametrize(
    ("error", "faulty", "passing"),
    [
        (errors.InvalidArgument("There is no such model."), True, False),
        (errors.FailedPrecondition("Not this.", "PROVIDER_REJECTED"), False, False),
        (errors.ResourceExhausted("Too busy.", "NO_CAPACITY"), False, True),
        (errors.Unavailable("No account works.", "UPSTREAM_UNAVAILABLE"), False, True),
    ],
)
async def test_a_definite_no_is_told_apart(
    remote: GenerationClient,
    generation_servicer: ScriptedGenerationServicer,
    error: errors.KawaiiError,
    *,
    faulty: bool,
    passing: bool,
) -> None:
    generation_servicer.answer = error

    refused = await remote.place(REQUEST, "ord_1")

    assert isinstance(refused, Refused)
    assert (refused.reason, refused.faulty, refused.passing) == (error.reason, faulty, passing)
    assert type(refused.error) is type(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.Unavailable("Down."),
        errors.DeadlineExceeded("Late."),
        errors.Aborted("Elsewhere."),
        errors.Internal("Broken."),
        errors.PermissionDenied("Not from here."),  # not generation's word: it may hold the order all the same
    ],
)
async def test_anything_else_is_no_answer(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer, error: Exception
) -> None:
    generation_servicer.answer = error

    assert await remote.place(REQUEST, "ord_1") == await remote.get("gen_1") == Unclear()


async def test_events_begin_behind_the_cursor_and_a_torn_stream_says_so(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer
) -> None:
    events = remote.events(41)

    assert ((await anext(events)).event_sequence, generation_servicer.asked[0].after_sequence) == (42, 41)
    with pytest.raises(errors.Unavailable):
        await anext(events)


async def test_a_state_of_a_newer_release_stops_no_event_consumer(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer
) -> None:
    generation_servicer.news = [generation(FUTURE), generation(States.STATE_SUCCEEDED, object_=KEY)]
    events = remote.events(6)

    applied = [await anext(events), await anext(events)]

    assert [(status.event_sequence, status.state) for status in applied] == [
        (7, OrderState.RUNNING),
        (8, OrderState.SUCCEEDED),
    ]


async def test_events_that_were_pruned_are_left_behind(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer
) -> None:
    generation_servicer.pruned_through = 40
    events = aiter(remote.events(7))

    assert (await anext(events)).event_sequence == 41
    with pytest.raises(errors.Unavailable):
        await anext(events)


async def test_an_order_that_generation_knows_in_other_words_is_looked_up(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer
) -> None:
    """Its id is ours alone; to wait for another answer would keep the order pending, and its hold, for ever."""
    generation_servicer.refusal = errors.AlreadyExists(
        "Used.", "IDEMPOTENCY_KEY_REUSED", metadata={"generation": "gen_1"}
    )

    assert await remote.place(REQUEST, "ord_1") == GenerationStatus("gen_1", OrderState.RUNNING, "task_1")
    assert generation_servicer.asked[-1].name == "generations/gen_1"


async def test_a_repeated_order_is_the_same_request_under_another_address(
    generation_servicer: ScriptedGenerationServicer,
) -> None:
    """The digest is of the order as it was made; our own pictures' URLs follow APP_URL."""
    digests = []
    for address in ("https://site.example/files", "https://moved.example/files"):
        async with served(generation_servicer) as channel:
            await GenerationClient(channel, PublicFiles(address)).place(REQUEST, "ord_1")
        digests.append(generation_servicer.asked[-1].request_digest)

    assert digests[0] == digests[1] != ""


async def test_an_order_names_whom_it_counts_for(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer
) -> None:
    await remote.place(REQUEST, "ord_1", ("203.0.113.9", "person 1"))

    assert generation_servicer.asked[-1].quota_subjects == ["203.0.113.9", "person 1"]


async def test_what_is_left_of_the_day_is_told_of_an_order_that_was_counted(
    remote: GenerationClient, generation_servicer: ScriptedGenerationServicer
) -> None:
    generation_servicer.answer = generation(States.STATE_READY)
    joined = await remote.place(REQUEST, "ord_1")
    generation_servicer.quota = generationpb.Quota(limit=3, remaining=0, reset_delay=Duration(seconds=9))
    placed = await remote.place(REQUEST, "ord_2")

    assert isinstance(joined, GenerationStatus)
    assert isinstance(placed, GenerationStatus)
    assert (joined.quota, placed.quota) == (None, Quota(3, 0, 9000))
