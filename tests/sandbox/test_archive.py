"""Which files may be read, and for how long."""

import re

import pytest

from services.sandbox.archive import picture_of
from services.sandbox.doors import FAMILIES
from services.sandbox.model import RefusalError, Task
from tests.sandbox.support import Bench

DAY_MS = 86_400_000


def create(bench: Bench, family: str, body: dict[str, object]) -> Task:
    found = FAMILIES[family]
    return bench.sandbox.create(bench.sandbox.begin("shop", family, found.prompt(body)), found.draft(body))


def image(bench: Bench, prompt: str = "a cat") -> Task:
    return create(bench, "gpt4o_image", {"prompt": prompt, "size": "2:3"})


def path_of(bench: Bench, task: Task, place: int = 0) -> str:
    return bench.store.tasks.results(task.id)[place].path


def test_paths_have_the_shapes_that_were_seen(bench: Bench) -> None:
    nano = create(bench, "market_jobs", {"model": "google/nano-banana", "input": {"prompt": "a cat"}})
    flux = create(bench, "flux_kontext", {"prompt": "a cat"})
    task = image(bench)

    assert re.fullmatch(rf"s/{task.id}_0_\d{{10}}_\d{{4}}\.png", path_of(bench, task))
    assert re.fullmatch(r"workers/nano/image_\d{13}_\w{6}\.png", path_of(bench, nano))
    assert re.fullmatch(r"r/[0-9a-f]{32}_\d{10}_\w{8}\.jpeg", path_of(bench, flux))


def test_a_result_is_there_from_its_completion_for_fourteen_days(bench: Bench) -> None:
    task = image(bench)
    path = path_of(bench, task)

    assert bench.archive.result(path) is None
    bench.now += 3000
    assert bench.archive.result(path) is not None
    bench.now += 14 * DAY_MS
    assert bench.archive.result(path) is None


def test_a_flux_origin_lives_ten_minutes(bench: Bench) -> None:
    task = create(bench, "flux_kontext", {"prompt": "a cat"})
    bench.now += 3000
    origin = path_of(bench, task, 1)
    assert bench.archive.result(origin) is not None
    bench.now += 600_000

    assert bench.archive.result(origin) is None
    assert bench.archive.result(path_of(bench, task)) is not None


def test_a_direct_link_lives_twenty_minutes_even_when_the_result_is_gone(bench: Bench) -> None:
    task = image(bench, "sim:expired-result")
    bench.now += 3000
    url = bench.archive.url(path_of(bench, task))
    token = bench.archive.task_link("shop", "gpt4o_image", task.id, url).rpartition("=")[2]

    assert bench.archive.result(path_of(bench, task)) is None
    assert bench.archive.signed(token) is not None
    bench.now += 1_200_000
    assert bench.archive.signed(token) is None


@pytest.mark.parametrize(
    ("wait_ms", "account", "message"),
    [
        (0, "shop", "record status is not success"),
        (3000, "rival", "record is null"),
        (15 * DAY_MS, "shop", "Only records within 14 days"),
    ],
)
def test_a_direct_link_is_refused_with_the_documented_reasons(
    bench: Bench, wait_ms: int, account: str, message: str
) -> None:
    task = image(bench)
    bench.now += wait_ms
    with pytest.raises(RefusalError, match=message):
        bench.archive.task_link(account, "gpt4o_image", task.id, bench.archive.url(path_of(bench, task)))


def test_a_foreign_url_gets_no_link(bench: Bench) -> None:
    with pytest.raises(RefusalError) as caught:
        bench.archive.link("https://example.com/s/x.png")

    assert caught.value.code == 422


def test_an_upload_expires_after_a_day(bench: Bench) -> None:
    upload = bench.archive.add_upload("shop", "/images/", "cat.png", "image/png", b"bytes")

    assert upload.path == "kieai/shop/images/cat.png"
    assert bench.archive.upload(upload.path) == upload
    bench.now += DAY_MS
    assert bench.archive.upload(upload.path) is None


def test_a_picture_follows_prompt_inputs_and_position(bench: Bench) -> None:
    plain = image(bench)
    edited = create(bench, "gpt4o_image", {"prompt": "a cat", "size": "2:3", "filesUrl": ["https://a.example/1.png"]})

    assert picture_of(plain, 0, 96) == picture_of(image(bench), 0, 96)
    assert picture_of(plain, 0, 96).seed != picture_of(plain, 1, 96).seed
    assert picture_of(plain, 0, 96).seed != picture_of(edited, 0, 96).seed
    assert (picture_of(plain, 0, 96).width, picture_of(plain, 0, 96).height) == (64, 96)


def test_a_caption_leaves_the_script_out(bench: Bench) -> None:
    assert picture_of(image(bench, "a cat [[sim:ok]]"), 0, 96).caption == "a cat"
