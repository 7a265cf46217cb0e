"""Every RPC over a real channel: what it answers, with which code, and for which reason it refuses."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.generation.v1 import generation_pb2 as generationpb

from catalogue import MODELS
from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from services.generation.model import State
from services.generation.outcomes import Completed, Rejected
from tests.generation.builders import brought, ordered
from tests.generation.harness import KIND, Harness, answering
from tests.generation.rpc import refused, served
from tests.generation.waiting import reached

URI, FRESH = "https://temporary.example/a.png", "https://fresh.example/a.png"
Pb = generationpb.Generation
BAD_NAMES = ["", "gen_1", "generations/", "generations/a/b", "shares/gen_1", "generations/../x", "generations/a\x00"]


def order(parameters: dict[str, Any] | None = None, **fields: Any) -> generationpb.CreateGenerationRequest:
    struct = Struct()
    struct.update(parameters or {})
    wanted = Pb(**{"model": "gpt4o-image", "prompt": "a cat", **fields}, parameters=struct)
    return generationpb.CreateGenerationRequest(generation=wanted)


async def test_a_created_generation_shows_what_was_ordered(harness: Harness) -> None:
    request = order({"nVariants": 2, "isEnhance": True}, image_uris=["https://example.org/a.png"], aspect_ratio="3:2")
    async with served(harness) as stub:
        created = (await stub.CreateGeneration(request)).generation

    assert created.name.startswith("generations/gen_")
    assert (created.state, created.model, created.prompt) == (Pb.STATE_READY, "gpt4o-image", "a cat")
    assert (list(created.image_uris), created.aspect_ratio) == (["https://example.org/a.png"], "3:2")
    assert (created.parameters["nVariants"], created.parameters["isEnhance"]) == (2, True)
    assert created.create_time.seconds > 1_600_000_000
    assert not created.HasField("error")
    assert not created.HasField("complete_time")


async def test_a_finished_generation_shows_its_picture(harness: Harness) -> None:
    harness.provider.records["task1"] = Completed((URI,))
    async with served(harness) as stub, harness.running():
        created = (await stub.CreateGeneration(order())).generation
        identifier = created.name.partition("/")[2]
        await reached(harness.store, identifier, State.SUCCEEDED)
        done = await stub.GetGeneration(generationpb.GetGenerationRequest(name=created.name))
        by_task = await stub.GetGeneration(generationpb.GetGenerationRequest(name="generations/task1"))

    (output,) = done.outputs
    key = f"generated/{identifier}/0.png"
    assert (done.state, done.progress_percent, done.provider_task_id) == (Pb.STATE_SUCCEEDED, 100, "task1")
    assert (output.object, output.uri) == (f"objects/{key}", f"https://files.example/files/{key}")
    assert (output.source_uri, output.content_type, output.size_bytes) == (URI, "image/png", 7)
    assert done.HasField("complete_time")
    assert by_task == done


async def test_a_bad_order_names_its_field(harness: Harness) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_INPUT", "prompt"):
            await stub.CreateGeneration(order(prompt=" "))
        with refused(InvalidArgument, "INVALID_INPUT", "model"):
            await stub.CreateGeneration(order(model="nobody"))
        with refused(InvalidArgument, "INVALID_INPUT", "parameters.seed"):
            await stub.CreateGeneration(order({"seed": 1}))
        with refused(InvalidArgument, "INVALID_INPUT", "prompt"):
            await stub.CreateGeneration(order(prompt=""))
        with refused(InvalidArgument, "INVALID_INPUT", "model"):
            await stub.CreateGeneration(generationpb.CreateGenerationRequest())


@pytest.mark.parametrize("value", [None, 1.5, "2", [2], {"a": 1}, float("inf"), 1e300])
async def test_an_extra_of_another_type_is_refused(harness: Harness, value: Any) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_INPUT", "parameters.nVariants"):
            await stub.CreateGeneration(order({"nVariants": value}))


async def test_a_definite_refusal_is_an_error(harness: Harness) -> None:
    harness = replace(
        harness, timing=replace(harness.timing, create_wait=60.0)
    )  # as long as it takes; the caller's bound is 10 s
    harness.provider.scripts.append(answering(Rejected(422, "The prompt is not allowed.")))
    async with served(harness) as stub, harness.running():
        with refused(FailedPrecondition, "PROVIDER_REJECTED"):
            await stub.CreateGeneration(order())


async def test_a_request_id_belongs_to_its_order(harness: Harness) -> None:
    async with served(harness) as stub:
        request = order()
        request.request_id = "key"
        first = (await stub.CreateGeneration(request)).generation
        again = (await stub.CreateGeneration(request)).generation
        request.generation.prompt = "a dog"
        with refused(AlreadyExists, "IDEMPOTENCY_KEY_REUSED"):
            await stub.CreateGeneration(request)

    assert again.name == first.name


async def test_a_generation_is_found_by_the_request_that_made_it(harness: Harness) -> None:
    request = order()
    request.request_id = "ord_1"
    async with served(harness) as stub:
        created = (await stub.CreateGeneration(request)).generation
        found = await stub.FindGeneration(generationpb.FindGenerationRequest(request_id="ord_1"))
        with refused(NotFound, "TASK_NOT_FOUND"):
            await stub.FindGeneration(generationpb.FindGenerationRequest(request_id="ord_2"))
        with refused(NotFound, "TASK_NOT_FOUND"):
            await stub.FindGeneration(generationpb.FindGenerationRequest())

    assert found.name == created.name


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_must_be_one_of_ours(harness: Harness, name: str) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_INPUT", "name"):
            await stub.GetGeneration(generationpb.GetGenerationRequest(name=name))
        with refused(InvalidArgument, "INVALID_INPUT", "name"):
            await stub.CancelGeneration(generationpb.CancelGenerationRequest(name=name))


async def test_nothing_is_found_by_a_foreign_name(harness: Harness) -> None:
    async with served(harness) as stub:
        with refused(NotFound, "TASK_NOT_FOUND"):
            await stub.GetGeneration(generationpb.GetGenerationRequest(name="generations/nobody"))
        with refused(NotFound, "TASK_NOT_FOUND"):
            await stub.CancelGeneration(generationpb.CancelGenerationRequest(name="generations/nobody"))
        with refused(NotFound, "TASK_NOT_FOUND"):
            await anext(aiter(stub.WatchGeneration(generationpb.WatchGenerationRequest(name="generations/nobody"))))


async def names(stub: Any, **fields: Any) -> list[str]:
    """All names, page by page."""
    listed: list[str] = []
    token = ""
    while True:
        page = await stub.ListGenerations(generationpb.ListGenerationsRequest(page_token=token, **fields))
        listed += [generation.name for generation in page.generations]
        token = page.next_page_token
        if not token:
            return listed


async def test_pages_hold_everything_once(harness: Harness) -> None:
    stored = {f"generations/{(await ordered(harness.store)).id}" for _ in range(7)}
    async with served(harness) as stub:
        listed = [await names(stub, page_size=size) for size in (1, 3, 7, 0, 100_000)]

    assert all(len(pages) == 7 and set(pages) == stored for pages in listed)
    assert listed[0] == listed[1] == listed[2]


async def test_a_list_can_be_of_some_states(harness: Harness) -> None:
    await ordered(harness.store)
    running = await brought(harness.store, State.RUNNING)
    async with served(harness) as stub:
        assert await names(stub, states=[Pb.STATE_RUNNING]) == [f"generations/{running.id}"]


async def test_a_page_token_belongs_to_its_filters(harness: Harness) -> None:
    for _ in range(3):
        await ordered(harness.store)
    async with served(harness) as stub:
        page = await stub.ListGenerations(generationpb.ListGenerationsRequest(page_size=1))
        request = generationpb.ListGenerationsRequest(page_size=2, page_token=page.next_page_token)
        following = await stub.ListGenerations(request)
        request.states.append(Pb.STATE_READY)
        with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
            await stub.ListGenerations(request)

    assert len(following.generations) == 2


@pytest.mark.parametrize("token", ["x", "é", "AAAA", "fHx8", "MXxhfDI=", "=" * 9, "MTIzfGdlbl8xfDAwMDAwMDAw", "\x00"])
async def test_a_page_token_of_nobody_is_refused(harness: Harness, token: str) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
            await stub.ListGenerations(generationpb.ListGenerationsRequest(page_token=token))


async def test_a_list_of_nonsense_is_refused(harness: Harness) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_INPUT", "page_size"):
            await stub.ListGenerations(generationpb.ListGenerationsRequest(page_size=-1))
        for state in (0, 99):
            with refused(InvalidArgument, "INVALID_INPUT", "states"):
                await stub.ListGenerations(generationpb.ListGenerationsRequest(states=[state]))  # type: ignore[list-item] # on purpose


@pytest.mark.parametrize("seconds", [-(2**62), 2**53, 2**62])
@pytest.mark.parametrize("field", ["start_time", "end_time"])
async def test_a_time_that_no_calendar_holds_is_refused(harness: Harness, field: str, seconds: int) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_INPUT", field):
            await names(stub, **{field: Timestamp(seconds=seconds)})


@pytest.mark.parametrize("seconds", [-1, 1, 253_402_300_799])
async def test_a_list_is_of_what_came_before_or_after(harness: Harness, seconds: int) -> None:
    await ordered(harness.store)
    async with served(harness) as stub:
        later = await names(stub, start_time=Timestamp(seconds=seconds))
        earlier = await names(stub, end_time=Timestamp(seconds=seconds))

    assert len(later) + len(earlier) == 1


async def test_a_canceled_generation_does_not_show_its_pictures(harness: Harness) -> None:
    harness.provider.records["task1"] = Completed((URI,))
    async with served(harness) as stub:
        created = (await stub.CreateGeneration(order())).generation
        await harness.submit()
        await harness.poll()
        canceled = await stub.CancelGeneration(generationpb.CancelGenerationRequest(name=created.name))
        again = await stub.CancelGeneration(generationpb.CancelGenerationRequest(name=created.name))

    assert (canceled.state, list(canceled.outputs)) == (Pb.STATE_CANCELED, [])
    assert again == canceled


async def test_what_has_ended_cannot_be_canceled(harness: Harness) -> None:
    ended = await brought(harness.store, State.FAILED)
    async with served(harness) as stub:
        with refused(FailedPrecondition, "FAILED_PRECONDITION"):
            await stub.CancelGeneration(generationpb.CancelGenerationRequest(name=f"generations/{ended.id}"))


async def test_a_failed_generation_can_be_ordered_again(harness: Harness) -> None:
    ended = await brought(harness.store, State.FAILED)
    async with served(harness) as stub:
        again = (
            await stub.RetryGeneration(generationpb.RetryGenerationRequest(name=f"generations/{ended.id}"))
        ).generation
        with refused(FailedPrecondition, "NOT_RETRYABLE"):
            await stub.RetryGeneration(generationpb.RetryGenerationRequest(name=f"generations/{ended.id}"))

    assert (again.name, again.state) == (f"generations/{ended.id}", Pb.STATE_READY)


async def test_an_unknown_is_ordered_again_only_by_who_accepts_two_bills(harness: Harness) -> None:
    ended = await brought(harness.store, State.UNKNOWN)
    request = generationpb.RetryGenerationRequest(name=f"generations/{ended.id}")
    async with served(harness) as stub:
        with refused(FailedPrecondition, "MAY_BILL_TWICE"):
            await stub.RetryGeneration(request)
        request.accept_double_billing = True
        again = (await stub.RetryGeneration(request)).generation

    assert again.state == Pb.STATE_READY


async def test_a_watcher_sees_changes_until_the_end(harness: Harness) -> None:
    async with served(harness) as stub:
        created = (await stub.CreateGeneration(order())).generation
        call = aiter(stub.WatchGeneration(generationpb.WatchGenerationRequest(name=created.name)))
        first = await anext(call)
        await stub.CancelGeneration(generationpb.CancelGenerationRequest(name=created.name))
        rest = [generation.state async for generation in call]

    assert first == created
    assert rest == [Pb.STATE_CANCELED]


async def events(stub: Any, after: int, count: int) -> list[generationpb.Event]:
    """So many events after a sequence."""
    call = stub.WatchEvents(generationpb.WatchEventsRequest(after_sequence=after))
    events = [await call.read() for _ in range(count)]
    call.cancel()
    return events


async def test_events_are_streamed_from_a_sequence_on(harness: Harness) -> None:
    stored = await brought(harness.store, State.SENDING)
    async with served(harness) as stub:
        first, second = await events(stub, 0, 2)
        (again,) = await events(stub, first.sequence, 1)

    assert (first.generation.name, first.generation.state) == (f"generations/{stored.id}", Pb.STATE_READY)
    assert second == again
    assert first.event_id != second.event_id


async def test_a_callback_is_taken_once(harness: Harness) -> None:
    request = generationpb.ReceiveCallbackRequest(kind=KIND, body=b'{"code":200,"data":{"taskId":"task1"}}')
    async with served(harness) as stub:
        accepted = [(await stub.ReceiveCallback(request)).accepted for _ in range(2)]

    assert accepted == [True, False]


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"kind": "video"}, NotFound, "NOT_FOUND"),
        ({"body": b"<html>"}, InvalidArgument, "INVALID_INPUT"),
        ({"body": b'{"taskId":"a","task_id":"b"}'}, InvalidArgument, "INVALID_INPUT"),
        ({"token": "att_1.secret"}, PermissionDenied, "INVALID_TOKEN"),
        ({"token": "\x00.\x00"}, PermissionDenied, "INVALID_TOKEN"),
    ],
)
async def test_a_bad_callback_is_refused(harness: Harness, changes: dict[str, Any], kind: Any, reason: str) -> None:
    fields = {"kind": KIND, "body": b'{"taskId":"task1"}', **changes}
    async with served(harness) as stub:
        with refused(kind, reason):
            await stub.ReceiveCallback(generationpb.ReceiveCallbackRequest(**fields))

    assert await harness.inbox.take(10) == []


@pytest.mark.parametrize("name", ["gen_1", "objects/gen_1", "generations/a\x00b", "generations/../x"])
async def test_the_generation_of_a_download_link_is_a_resource_name(harness: Harness, name: str) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_INPUT", "generation"):
            await stub.CreateDownloadLink(generationpb.CreateDownloadLinkRequest(uri=URI, generation=name))
        with refused(NotFound, "TASK_NOT_FOUND"):
            request = generationpb.CreateDownloadLinkRequest(uri=URI, generation="generations/gen_nobody")
            await stub.CreateDownloadLink(request)


async def test_a_temporary_url_becomes_a_direct_link(harness: Harness) -> None:
    harness.provider.links[URI] = FRESH
    async with served(harness) as stub:
        link = await stub.CreateDownloadLink(generationpb.CreateDownloadLinkRequest(uri=URI))
        foreign = await stub.CreateDownloadLink(generationpb.CreateDownloadLinkRequest(uri="https://example.org/a"))
        with refused(NotFound, "RESULT_GONE"):
            await stub.CreateDownloadLink(generationpb.CreateDownloadLinkRequest(uri=f"{URI}?gone"))

    assert (link.uri, link.direct, link.HasField("expire_time")) == (FRESH, True, True)
    assert (foreign.uri, foreign.direct, foreign.HasField("expire_time")) == ("https://example.org/a", False, False)


async def test_the_table_of_models_is_told(harness: Harness) -> None:
    async with served(harness) as stub:
        models = (await stub.ListModels(generationpb.ListModelsRequest())).models

    assert [model.name for model in models] == [f"models/{identifier}" for identifier in MODELS]
    flux = next(model for model in models if model.name == "models/flux-kontext-pro")
    assert (flux.max_prompt_length, flux.aspect_ratios[0], list(flux.output_formats)) == (3000, "16:9", ["jpeg", "png"])
    assert "safetyTolerance" in flux.parameters
    assert (flux.credits, flux.patience.seconds) == (5, 900)


async def test_the_table_of_models_says_what_each_makes_and_what_its_parameters_may_hold(harness: Harness) -> None:
    async with served(harness) as stub:
        listed = (await stub.ListModels(generationpb.ListModelsRequest())).models
    models = {model.name.removeprefix("models/"): model for model in listed}
    rules = {
        identifier: {rule.name: MessageToDict(rule) for rule in model.parameter_rules}
        for identifier, model in models.items()
    }

    assert {model.media_kind for model in listed} == {generationpb.Model.MEDIA_KIND_IMAGE}
    assert all(list(model.parameters) == list(rules[identifier]) for identifier, model in models.items())
    assert rules["gpt4o-image"]["isEnhance"] == {"name": "isEnhance", "type": "TYPE_BOOLEAN"}
    assert rules["gpt4o-image"]["nVariants"] == {
        "name": "nVariants",
        "type": "TYPE_INTEGER",
        "choices": [1.0, 2.0, 4.0],
    }
    assert rules["flux-kontext-pro"]["safetyTolerance"] == {
        "name": "safetyTolerance",
        "type": "TYPE_INTEGER",
        "minimum": 0,
        "maximum": 6,
    }
    assert rules["nano-banana-2"]["resolution"] == {
        "name": "resolution",
        "type": "TYPE_TEXT",
        "choices": ["1K", "2K", "4K"],
        "defaultValue": "1K",
    }


async def test_the_table_of_models_tells_the_patience_that_is_in_force(harness: Harness) -> None:
    harness.models = {"z-image": replace(MODELS["z-image"], patience_seconds=0.5)}
    async with served(harness) as stub:
        (model,) = (await stub.ListModels(generationpb.ListModelsRequest())).models

    assert model.patience.ToTimedelta() == timedelta(milliseconds=500)


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_the_table_of_models_comes_in_pages(harness: Harness, size: int) -> None:
    names, following = [], ""
    async with served(harness) as stub:
        while not names or following:
            request = generationpb.ListModelsRequest(page_size=size, page_token=following)
            page = await stub.ListModels(request)
            assert 0 < len(page.models) <= size
            names += [model.name for model in page.models]
            following = page.next_page_token

    assert names == [f"models/{identifier}" for identifier in MODELS]


async def test_a_page_of_models_that_cannot_be_is_refused(harness: Harness) -> None:
    async with served(harness) as stub:
        with refused(InvalidArgument, "INVALID_INPUT", "page_size"):
            await stub.ListModels(generationpb.ListModelsRequest(page_size=-1))
        for token in ("x", "Z3B0LTRv", "猫"):
            with refused(InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"):
                await stub.ListModels(generationpb.ListModelsRequest(page_token=token))
