"""`kawaii tasks` and `kawaii keys` as an operator types them, against a service on a real socket."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.cli.tasks import STATES
from tests.deploy.admin_servicer import (
    NOON,
    AdminServicer,
    ParkedWork,
    ProviderAccount,
    ProviderKey,
    State,
    admin_servicer,
    generation,
    opened,
)

PRINT = "0123abcd"


@dataclass(frozen=True)
class Said:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Kawaii = Callable[..., Awaitable[Said]]


@pytest.fixture
def servicer() -> AdminServicer:
    """Three generations and a key."""
    filled = admin_servicer()
    filled.add(
        generation("gen_3", State.STATE_FAILED),
        generation("gen_2", State.STATE_RUNNING),
        generation("gen_1", State.STATE_UNKNOWN),
    )
    name = f"providerKeys/{PRINT}"
    filled.keys[name] = ProviderKey(name=name, account="main", state=ProviderKey.STATE_ACTIVE)
    return filled


@pytest.fixture
async def kawaii(servicer: AdminServicer) -> AsyncIterator[Kawaii]:
    """Run the command to its end, beside the service."""
    async with opened(servicer) as base:

        async def run(*words: str, base: int = base) -> Said:
            command = (sys.executable, "-m", "deploy.cli.main", *words)
            pipe, environment = asyncio.subprocess.PIPE, {"INTERNAL_PORT_BASE": str(base)}
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
            out, err = await asyncio.wait_for(process.communicate(), 60)
            return Said(process.returncode or 0, out.decode(), err.decode())

        yield run


def state_of(servicer: AdminServicer, task: str) -> str:
    return State.Name(servicer.rows[f"generations/{task}"].state)


def test_every_state_can_be_asked_for() -> None:
    assert [f"STATE_{state}" for state in STATES] == [name for name, _ in State.items() if name != "STATE_UNSPECIFIED"]


async def test_list_shows_a_table_newest_first(kawaii: Kawaii) -> None:
    output = await kawaii("tasks", "list")

    assert (output.code, output.err) == (0, "")
    assert output.lines == [
        "TASK   STATE    DONE  MODEL        CREATED               WHY",
        "gen_3  FAILED   0 %   gpt4o-image  2026-11-18T11:06:40Z  PROVIDER_FAILED: The upstream failed.",
        "gen_2  RUNNING  0 %   gpt4o-image  2026-11-18T11:06:40Z  -",
        "gen_1  UNKNOWN  0 %   gpt4o-image  2026-11-18T11:06:40Z  -",
    ]


async def test_list_filters_by_state_in_any_case(kawaii: Kawaii) -> None:
    output = await kawaii("tasks", "list", "-s", "failed", "-s", "UNKNOWN", "-o", "json")

    assert [row["name"] for row in output.json["generations"]] == ["generations/gen_3", "generations/gen_1"]


async def test_a_page_says_where_the_next_begins(kawaii: Kawaii) -> None:
    first = await kawaii("tasks", "list", "-n", "2")
    second = await kawaii("tasks", "list", "-n", "2", *first.lines[-1].removeprefix("More: ").split())

    assert [line.split()[0] for line in second.lines] == ["TASK", "gen_1"]


async def test_get_shows_one_by_id_or_name(kawaii: Kawaii) -> None:
    output = await kawaii("tasks", "get", "generations/gen_3")

    assert output.lines[:2] == ["task:      gen_3", "state:     FAILED"]
    assert "why:       PROVIDER_FAILED: The upstream failed." in output.lines
    assert (await kawaii("tasks", "get", "gen_3")).out == output.out


async def test_json_holds_every_field_by_its_proto_name(kawaii: Kawaii) -> None:
    shown = (await kawaii("tasks", "get", "gen_2", "--output", "json")).json

    assert (shown["state"], shown["progressPercent"], shown["outputs"]) == ("STATE_RUNNING", 0, [])


async def test_watch_prints_each_change_on_a_line_until_the_end(kawaii: Kawaii, servicer: AdminServicer) -> None:
    output = await kawaii("tasks", "watch", "gen_2")
    servicer.add(generation("gen_2", State.STATE_RUNNING))
    shown = [json.loads(line) for line in (await kawaii("tasks", "watch", "gen_2", "-o", "json")).lines]

    assert [line.split()[1:4] for line in output.lines] == [["RUNNING", "0", "%"], ["SUCCEEDED", "100", "%"]]
    assert [news["state"] for news in shown] == ["STATE_RUNNING", "STATE_SUCCEEDED"]


async def test_cancel_ends_a_generation(kawaii: Kawaii, servicer: AdminServicer) -> None:
    output = await kawaii("tasks", "cancel", "gen_2")

    assert "state:     CANCELED" in output.lines
    assert state_of(servicer, "gen_2") == "STATE_CANCELED"


async def test_retry_of_an_unknown_needs_consent(kawaii: Kawaii, servicer: AdminServicer) -> None:
    refused = await kawaii("tasks", "retry", "gen_1")
    untouched = state_of(servicer, "gen_1")
    accepted = await kawaii("tasks", "retry", "gen_1", "--accept-double-billing")

    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "Error: Its first order may have been taken.\n"
    assert untouched == "STATE_UNKNOWN"
    assert (accepted.code, state_of(servicer, "gen_1")) == (0, "STATE_READY")


async def test_adopt_joins_a_task_to_an_attempt(kawaii: Kawaii, servicer: AdminServicer) -> None:
    output = await kawaii("tasks", "adopt", "att_1", "task9")

    assert (output.code, output.out, servicer.adopted) == (0, "gen_1\n", {"att_1": "task9"})


async def test_explain_tells_the_story_and_no_stranger_steers_the_terminal(kawaii: Kawaii) -> None:
    output = await kawaii("tasks", "explain", "gen_1")

    assert output.lines == [
        "TIME                      WHAT    DETAIL",
        "2026-11-18T11:06:40.123Z  state   READY, 0 %, 0 pictures",
        "2026-11-18T11:06:40.123Z  answer  att_1 REFUSED �[31mno",
    ]


async def test_keys_list_shows_keys_and_accounts(kawaii: Kawaii) -> None:
    output = await kawaii("keys", "list")

    assert output.lines == [
        "KEY       ACCOUNT  STATE   CAUSE  RESTS UNTIL",
        "0123abcd  main     ACTIVE  -      -",
        "",
        "ACCOUNT  CREDITS  ASKED                 LAST 10 S  IN FLIGHT  CAUSE  RESTS UNTIL  UNPAID",
        "main     12.5     2026-11-18T11:06:40Z  3          0          -      -            -",
    ]


async def test_keys_list_says_what_to_do_about_an_account_without_a_key(
    kawaii: Kawaii, servicer: AdminServicer
) -> None:
    servicer.missing.append(ProviderAccount(account="key-4567cdef", missing=True, waiting_task_count=2))
    output = await kawaii("keys", "list")

    (row,) = [line for line in output.lines if line.startswith("key-4567cdef")]
    assert "MISSING" in row
    assert output.lines[-1].startswith("2 tasks wait for account key-4567cdef, of which no key is configured.")


@pytest.mark.parametrize(
    ("verb", "state"), [("disable", "STATE_DISABLED"), ("enable", "STATE_ACTIVE"), ("probe", "STATE_RESTING")]
)
async def test_a_key_is_turned_by_its_print(kawaii: Kawaii, servicer: AdminServicer, verb: str, state: str) -> None:
    shown = (await kawaii("keys", verb, PRINT, "-o", "json")).json

    assert shown["state"] == state
    assert ProviderKey.State.Name(servicer.keys[f"providerKeys/{PRINT}"].state) == state


async def test_a_probe_tells_the_cause_and_the_end_of_the_rest(kawaii: Kawaii) -> None:
    output = await kawaii("keys", "probe", PRINT)

    assert output.lines[1].split() == [PRINT, "main", "RESTING", "401", "2026-11-18T11:06:40Z"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tasks", "get", "gen_9"), "There is no generation with this id. Check the taskId."),
        (("tasks", "watch", "gen_9"), "There is no generation with this id. Check the taskId."),
        (("keys", "disable", "ffff"), "There is no key of this name."),
    ],
)
async def test_a_refusal_is_one_sentence_and_exit_1(kawaii: Kawaii, words: tuple[str, ...], sentence: str) -> None:
    output = await kawaii(*words, "-o", "json")

    assert (output.code, output.out, output.err) == (1, "", f"Error: {sentence}\n")


@pytest.mark.parametrize("verb", ["get", "watch"])
async def test_no_stack_is_exit_1_and_says_what_helps(kawaii: Kawaii, base: int, verb: str) -> None:
    output = await kawaii("tasks", verb, "gen_1", base=base)

    assert output.code == 1
    assert output.err.startswith(f"Error: No stack answers at 127.0.0.1:{base + 1}.")


@pytest.mark.parametrize(
    "words", [("tasks", "get"), ("tasks", "list", "-n", "0"), ("tasks", "list", "-s", "LOST"), ("keys", "-o", "xml")]
)
async def test_a_mistyped_command_is_exit_2(kawaii: Kawaii, words: tuple[str, ...]) -> None:
    assert (await kawaii(*words)).code == 2


async def test_a_base_that_is_none_is_exit_2(kawaii: Kawaii) -> None:
    output = await kawaii("tasks", "list", base=1)

    assert output.code == 2
    assert "INTERNAL_PORT_BASE" in output.err


async def test_parked_work_of_the_community_is_listed_and_released_too(kawaii: Kawaii, servicer: AdminServicer) -> None:
    servicer.parked["gen_1"] = ParkedWork(loop="poll", work="gen_1", tries=5, park_time=NOON)
    servicer.parked_orders += ["ord_1", "ord_2"]
    listed = await kawaii("tasks", "parked")
    released = await kawaii("tasks", "release", "ord_1")

    assert [line.split()[:3] for line in listed.lines[1:]] == [
        ["gen_1", "poll", "5"],
        ["ord_1", "orders", "5"],
        ["ord_2", "orders", "5"],
    ]
    assert (released.code, released.out) == (0, "Released: 1.\n")
    assert (list(servicer.parked), servicer.parked_orders) == (["gen_1"], ["ord_2"])


async def test_parked_work_is_listed_and_released(kawaii: Kawaii, servicer: AdminServicer) -> None:
    for work, loop in (("gen_1", "poll"), ("gen_2", "copy"), ("cb_1", "callbacks")):
        cause = "RecursionError at services/generation/providers/replies.py:78 _uris"
        servicer.parked[work] = ParkedWork(loop=loop, work=work, tries=5, cause=cause, park_time=NOON)
    listed = await kawaii("tasks", "parked")
    released = await kawaii("tasks", "release", "gen_1")
    unknown = await kawaii("tasks", "release", "gen_1")
    neither = await kawaii("tasks", "release")
    left = list(servicer.parked)
    rest = await kawaii("tasks", "release", "--all")

    assert [line.split()[:3] for line in listed.lines] == [
        ["WORK", "LOOP", "TRIES"],
        ["gen_1", "poll", "5"],
        ["gen_2", "copy", "5"],
        ["cb_1", "callbacks", "5"],
    ]
    assert "RecursionError" in listed.out
    assert (released.code, released.out) == (0, "Released: 1.\n")
    assert unknown.code == 1
    assert "Not parked: gen_1." in unknown.err
    assert neither.code == 2
    assert left == ["gen_2", "cb_1"]
    assert (rest.out, servicer.parked) == ("Released: 2.\n", {})
