"""Which files may be read, for how long, and what pictures are drawn from."""

import pytest

from services.sandbox.files import picture_of
from services.sandbox.model import Task
from services.sandbox.refusals import RefusalError
from tests.sandbox.support import InProcess

DAY_MS = 86_400_000


def path_of(sandbox: InProcess, task: Task, place: int = 0) -> str:
    return sandbox.store.results(task.id)[place].path


def test_a_result_is_there_from_its_completion_for_fourteen_days(sandbox: InProcess) -> None:
    task = sandbox.create()
    path = path_of(sandbox, task)

    assert sandbox.files.result(path) is None
    sandbox.now += 3000
    assert sandbox.files.result(path) is not None
    sandbox.now += 14 * DAY_MS
    assert sandbox.files.result(path) is None


def test_a_flux_origin_lives_ten_minutes(sandbox: InProcess) -> None:
    task = sandbox.create(family="flux_kontext")
    sandbox.now += 3000
    origin = path_of(sandbox, task, 1)
    assert sandbox.files.result(origin) is not None
    sandbox.now += 600_000

    assert sandbox.files.result(origin) is None
    assert sandbox.files.result(path_of(sandbox, task)) is not None


def test_a_direct_link_lives_twenty_minutes_even_when_the_result_is_gone(sandbox: InProcess) -> None:
    task = sandbox.create("sim:expired-result")
    sandbox.now += 3000
    url = sandbox.files.url(path_of(sandbox, task))
    token = sandbox.files.task_link("shop", "gpt4o_image", task.id, url).rpartition("=")[2]

    assert sandbox.files.result(path_of(sandbox, task)) is None
    assert sandbox.files.signed(token) is not None
    sandbox.now += 1_200_000
    assert sandbox.files.signed(token) is None


@pytest.mark.parametrize(
    ("wait_ms", "account", "message"),
    [
        (0, "shop", "record status is not success"),
        (3000, "rival", "record is null"),
        (15 * DAY_MS, "shop", "Only records within 14 days"),
    ],
)
def test_a_direct_link_is_refused_with_the_documented_reasons(
    sandbox: InProcess, wait_ms: int, account: str, message: str
) -> None:
    task = sandbox.create()
    sandbox.now += wait_ms
    with pytest.raises(RefusalError, match=message):
        sandbox.files.task_link(account, "gpt4o_image", task.id, sandbox.files.url(path_of(sandbox, task)))


def test_a_foreign_url_gets_no_link(sandbox: InProcess) -> None:
    with pytest.raises(RefusalError) as caught:
        sandbox.files.link("https://example.com/s/x.png")

    assert caught.value.code == 422


async def test_an_upload_expires_after_a_day(sandbox: InProcess) -> None:
    upload = await sandbox.files.add_upload("shop", "/images/", "cat.png", "image/png", b"bytes")

    assert upload.path == "kieai/shop/images/cat.png"
    assert sandbox.files.upload(upload.path) == upload
    assert sandbox.files.file_of(upload).read_bytes() == b"bytes"
    sandbox.now += DAY_MS
    assert sandbox.files.upload(upload.path) is None


def test_a_picture_follows_prompt_inputs_and_position(sandbox: InProcess) -> None:
    plain = sandbox.create()
    edited = sandbox.create(filesUrl=["https://a.example/1.png"])

    assert picture_of(plain, 0, 96) == picture_of(sandbox.create(), 0, 96)
    assert picture_of(plain, 0, 96).seed != picture_of(plain, 1, 96).seed
    assert picture_of(plain, 0, 96).seed != picture_of(edited, 0, 96).seed
    assert (picture_of(plain, 0, 96).width, picture_of(plain, 0, 96).height) == (64, 96)


def test_a_caption_leaves_the_prompts_script_out(sandbox: InProcess) -> None:
    assert picture_of(sandbox.create("a cat [[sim:ok]]"), 0, 96).caption == "a cat"
