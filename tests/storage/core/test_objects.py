"""Page tokens lead on within their own list and nowhere else."""

import base64

import pytest

from services.chassis.errors import InvalidArgument
from services.storage.core import Objects
from services.storage.core.objects import cursor_of, token_of
from services.storage.model import Cursor, Filter, UploadSpec
from tests.storage.samples import picture, stream


def test_a_token_comes_back_as_its_cursor() -> None:
    cursor = Cursor(5, "uploads/a.png")

    assert cursor_of(Filter("uploads/"), token_of(Filter("uploads/"), cursor)) == cursor
    assert cursor_of(Filter(), "") is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "!!!!",
        token_of(Filter("generated/"), Cursor(5, "a")),
        base64.urlsafe_b64encode(b"00000000:5:a").decode(),
        base64.urlsafe_b64encode(b"00000000:9999999999999999999:a").decode(),
        base64.urlsafe_b64encode(b"00000000:5:a\x00").decode(),
        base64.urlsafe_b64encode(b"\xff").decode(),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
    ],
)
def test_a_token_of_another_list_or_of_nobody_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        cursor_of(Filter("uploads/"), token)


@pytest.mark.parametrize(
    ("wanted", "cursor", "token"),
    [
        (
            Filter("uploads/", "gen_1"),
            Cursor(1700000000123, "uploads/a.png"),
            "ZDRjYjFiNTU6MTcwMDAwMDAwMDEyMzp1cGxvYWRzL2EucG5n",
        ),
        (Filter(), Cursor(5, "a"), "NmUzNDBiOWM6NTph"),
    ],
)
def test_a_token_of_an_earlier_release_still_leads_on(wanted: Filter, cursor: Cursor, token: str) -> None:
    assert token_of(wanted, cursor) == token
    assert cursor_of(wanted, token) == cursor


async def test_an_upload_of_a_generation_is_listed_with_it(objects: Objects) -> None:
    ours = await objects.upload(UploadSpec(generation_id="gen_a"), stream([picture(seed="ours")]))
    nobodys = await objects.upload(UploadSpec(), stream([picture(seed="nobody's")]))

    assert (ours.generation_id, nobodys.generation_id) == ("gen_a", None)
    assert (await objects.list(Filter(generation_id="gen_a"), 10, "")).objects == (ours,)
