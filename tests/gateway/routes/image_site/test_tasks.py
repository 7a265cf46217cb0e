"""Following a task by server-sent events, over a real socket (docs/rest.md#event-streams)."""

from typing import Any

import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from tests.gateway.conftest import Doubles
from tests.gateway.events import HEARTBEAT, Stream
from tests.gateway.routes.image_site.conftest import Serve
from tests.gateway.shapes import FILES, MILLISECONDS, TIME
from tests.support.polling import eventually

Generation = generationpb.Generation
WATCH = "/api/poll-task?taskId=gen_1"
PICTURE = Generation.Output(uri=f"{FILES}/a.png", source_uri="https://tempfile.aiquickdraw.com/a.png")
RUNNING: dict[str, Any] = {
    "type": "generation.progress",
    "taskId": "gen_1",
    "status": "GENERATING",
    "successFlag": 0,
    "progress": 0,
    "response": None,
    "errorCode": None,
    "errorMessage": "",
    "createTime": MILLISECONDS,
    "completeTime": None,
    "paramJson": '{"model":"gpt4o-image","size":"","outputFormat":""}',
}
DONE = {
    **RUNNING,
    "type": "generation.succeeded",
    "status": "SUCCESS",
    "successFlag": 1,
    "progress": 100,
    "response": {"resultUrls": [f"{FILES}/a.png"], "result_urls": [f"{FILES}/a.png"]},
}


@pytest.fixture(autouse=True)
def running(doubles: Doubles) -> None:
    """A 4o picture in the making."""
    doubles.generation.add("gen_1", state=Generation.STATE_READY, model="gpt4o-image", provider_task_id="kie-77")


async def test_each_visible_change_is_an_event_and_the_end_ends_the_stream(serve_with: Serve, doubles: Doubles) -> None:
    async with serve_with().http.stream("GET", WATCH) as response:
        stream = Stream(response)
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert await stream.frame() == ["retry: 1000"]
        assert (await stream.event())[1] == RUNNING

        doubles.generation.change("gen_1", state=Generation.STATE_SENDING)  # looks the same, so nothing is said
        doubles.generation.change("gen_1", state=Generation.STATE_RUNNING, progress_percent=40)
        assert (await stream.event())[1] == {**RUNNING, "progress": 40}

        doubles.generation.change("gen_1", state=Generation.STATE_SUCCEEDED, outputs=[PICTURE])
        assert (await stream.event())[1] == DONE
        assert [frame async for frame in stream.rest()] == []

    await eventually(lambda: not doubles.generation.watchers)


async def test_a_picture_that_shows_before_its_copy_is_kept_is_progress_still(
    serve_with: Serve, doubles: Doubles
) -> None:
    failed = Generation.Output(source_uri="https://tempfile.aiquickdraw.com/a.png", error_message="It timed out.")
    async with serve_with().http.stream("GET", WATCH) as response:
        stream = Stream(response)
        await stream.event()
        doubles.generation.change("gen_1", state=Generation.STATE_STORING, outputs=[failed])
        _, data = await stream.event()

    assert (data["type"], data["status"]) == ("generation.progress", "SUCCESS")


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("FAILED", "generation.failed"),
        ("UNKNOWN", "generation.unknown"),
        ("CANCELED", "generation.canceled"),
        ("EXPIRED", "generation.expired"),
        ("RESULT_LOST", "generation.result_lost"),
    ],
)
async def test_the_last_event_says_how_it_ended(serve_with: Serve, doubles: Doubles, state: str, kind: str) -> None:
    error = Generation.Error(reason="WHY", message="Because.")
    doubles.generation.change("gen_1", state=Generation.State.Value(f"STATE_{state}"), error=error, complete_time=TIME)
    async with serve_with().http.stream("GET", WATCH) as response:
        stream = Stream(response)
        assert (await stream.event())[1] == {
            **RUNNING,
            "type": kind,
            "status": "GENERATE_FAILED",
            "successFlag": 3,
            "errorCode": "WHY",
            "errorMessage": "Because.",
            "completeTime": MILLISECONDS,
        }
        assert [frame async for frame in stream.rest()] == []


async def test_silence_is_broken_by_heartbeats(serve_with: Serve, doubles: Doubles) -> None:
    async with serve_with(heartbeat_seconds=0.05).http.stream("GET", WATCH) as response:
        stream = Stream(response)
        await stream.event()
        assert [await stream.frame() for _ in range(3)] == [[HEARTBEAT]] * 3

        doubles.generation.change("gen_1", progress_percent=70)
        assert (await stream.event())[1]["progress"] == 70


async def test_a_client_that_comes_back_is_told_only_what_it_has_not_seen(serve_with: Serve, doubles: Doubles) -> None:
    live = serve_with(heartbeat_seconds=0.05)
    async with live.http.stream("GET", WATCH) as response:
        seen, _ = await Stream(response).event()
    async with live.http.stream("GET", WATCH, headers={"Last-Event-ID": seen}) as response:
        stream = Stream(response)
        assert [await stream.frame() for _ in range(2)] == [["retry: 1000"], [HEARTBEAT]]

        doubles.generation.change("gen_1", state=Generation.STATE_SUCCEEDED, outputs=[PICTURE])
        last, data = await stream.event()
        assert data == DONE

    await live.stop()
    doubles.generation.change("gen_1")
    other = serve_with()  # ids mean the same to every process
    ended = await other.http.get(WATCH, headers={"Last-Event-ID": last})
    again = await other.http.get(WATCH, headers={"Last-Event-ID": seen})

    assert (ended.status_code, ended.content) == (204, b"")
    assert f"id: {last}" in again.text.splitlines()


async def test_the_providers_id_is_followed_too(serve_with: Serve) -> None:
    async with serve_with().http.stream("GET", "/api/poll-task?taskId=kie-77") as response:
        assert (await Stream(response).event())[1]["taskId"] == "gen_1"


async def test_a_client_that_leaves_ends_its_watch_and_frees_its_place(serve_with: Serve, doubles: Doubles) -> None:
    live = serve_with(max_watches=1)
    async with live.http.stream("GET", WATCH) as response:
        await Stream(response).event()
        refused = await live.http.get(WATCH)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["code"] == "TOO_MANY_STREAMS"
        assert len(doubles.generation.watchers) == 1

    await eventually(lambda: not doubles.generation.watchers)
    async with live.http.stream("GET", WATCH) as response:
        assert (await Stream(response).event())[1] == RUNNING


async def test_one_client_cannot_hold_all_streams(serve_with: Serve) -> None:
    live = serve_with(max_watches=3, max_watches_per_client=1)
    greedy, other = {"x-kawaii-client": "192.0.2.1"}, {"x-kawaii-client": "192.0.2.2"}
    async with live.http.stream("GET", WATCH, headers=greedy) as response:
        await Stream(response).event()
        refused = await live.http.get(WATCH, headers=greedy)
        async with live.http.stream("GET", WATCH, headers=other) as free:
            assert (await Stream(free).event())[1] == RUNNING

    assert (refused.status_code, refused.json()["code"]) == (503, "TOO_MANY_STREAMS")
    assert refused.json()["error"].startswith("Your address watches as many tasks as one may.")


async def test_a_refused_stream_takes_no_place(serve_with: Serve) -> None:
    live = serve_with(max_watches=1)
    for _ in range(3):
        assert (await live.http.get("/api/poll-task?taskId=gen_none")).status_code == 404
    assert (await live.http.head(WATCH)).status_code == 200
    async with live.http.stream("GET", WATCH) as response:
        assert response.status_code == 200


async def test_when_the_service_goes_the_stream_ends_and_the_client_may_come_back(
    serve_with: Serve, doubles: Doubles
) -> None:
    async with serve_with().http.stream("GET", WATCH) as response:
        stream = Stream(response)
        await stream.event()
        await doubles.stop("generation")
        assert [frame async for frame in stream.rest()] == []


async def test_our_own_stop_ends_the_streams_at_once(serve_with: Serve, doubles: Doubles) -> None:
    live = serve_with()
    async with live.http.stream("GET", WATCH) as response:
        stream = Stream(response)
        await stream.event()
        live.server.should_exit = True
        assert [frame async for frame in stream.rest()] == []

    await live.serving
    await eventually(lambda: not doubles.generation.watchers)
