"""`kawaii tasks`: what an operator may see and do of the generations of a running stack."""

from typing import Any

import click

from deploy.cli.output import ask, enum_word, follow, line, moment, output, show, show_line, table

STATES = (
    "READY",
    "DIALING",
    "SENDING",
    "AMBIGUOUS",
    "RUNNING",
    "STORING",
    "SUCCEEDED",
    "FAILED",
    "UNKNOWN",
    "CANCELED",
    "EXPIRED",
    "RESULT_LOST",
)
COLUMNS = ("TASK", "STATE", "DONE", "MODEL", "CREATED", "WHY")
NEWS_WIDTHS = (20, 11, 4, 1)  # of a line of `watch`, which cannot know what is still to come
PARKED = {  # the services with lease loops: how each lists and releases what is parked
    "generation": ("ListParkedWork", "ReleaseParkedWork"),
    "community": ("ListParkedCommunityWork", "ReleaseParkedCommunityWork"),
}
MAX_LISTED = 1000  # the service returns no more at once


@click.group()
def tasks() -> None:
    """See and steer generations. TASK is our task id or the provider's. Exit 1: refused or not reachable."""


@tasks.command("list")
@click.option("-s", "--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False))
@click.option("-n", "--limit", type=click.IntRange(1, MAX_LISTED), default=20, show_default=True)
@click.option("--page-token", default="", help="nextPageToken of the page before.")
@output
def list_(states: tuple[str, ...], limit: int, page_token: str, output: str) -> None:
    """List generations, newest first."""
    wanted = [f"STATE_{state}" for state in states]
    show(ask("ListGenerations", states=wanted, page_size=limit, page_token=page_token), output, page_text)


@tasks.command()
@click.argument("task")
@output
def get(task: str, output: str) -> None:
    """Show one generation."""
    show(ask("GetGeneration", name=named(task)), output, details)


@tasks.command()
@click.argument("task")
@output
def watch(task: str, output: str) -> None:
    """Show one generation now and at each change, until it is over."""
    follow("WatchGeneration", lambda news: show_line(news, output, news_text), name=named(task))


@tasks.command()
@click.argument("task")
@output
def cancel(task: str, output: str) -> None:
    """End a generation. What was sent already cannot be stopped and is billed."""
    show(ask("CancelGeneration", name=named(task)), output, details)


@tasks.command()
@click.argument("task")
@click.option("--accept-double-billing", is_flag=True, help="Needed for UNKNOWN: its first order may be billed too.")
@output
def retry(task: str, output: str, *, accept_double_billing: bool) -> None:
    """Order a generation that ended without pictures once more; it may be billed."""
    answer = ask("RetryGeneration", name=named(task), accept_double_billing=accept_double_billing)
    show(answer["generation"], output, details)


@tasks.command()
@click.argument("attempt")
@click.argument("provider_task")
@output
def adopt(attempt: str, provider_task: str, output: str) -> None:
    """Give an ATTEMPT whose answer was lost the task that the provider's own pages show for it."""
    show(ask("AdoptTask", attempt=attempt, task=provider_task), output, lambda answer: plain(answer["generation"]))


@tasks.command()
@click.argument("task")
@output
def explain(task: str, output: str) -> None:
    """Tell everything that happened to a generation, oldest first."""
    show(ask("ExplainGeneration", name=named(task)), output, timeline)


@tasks.command()
@output
def parked(output: str) -> None:
    """List the work of generation and community at which our own code failed again and again."""
    show({"parkedWorks": all_parked()}, output, parked_text)


@tasks.command()
@click.argument("works", metavar="WORK...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Release all that is parked, after an upgrade that mends it.")
@output
def release(works: tuple[str, ...], output: str, *, everything: bool) -> None:
    """Have parked WORK tried again, as `parked` names it. Exit 1 when some of it is not parked."""
    if bool(works) is everything:
        raise click.UsageError("Name what to release, or give --all.")
    found = [work for work in all_parked() if everything or work["work"] in map(plain, works)]
    missing = set(map(plain, works)) - {work["work"] for work in found}
    for work in found:
        _, release_verb = PARKED[work["service"]]
        ask(release_verb, loop=work["loop"], work=work["work"])
    show({"parkedWorks": found}, output, lambda answer: f"Released: {len(answer['parkedWorks'])}.")
    if missing:
        raise click.ClickException(f"Not parked: {', '.join(sorted(missing))}. `kawaii tasks parked` lists what is.")


def all_parked() -> list[dict[str, Any]]:
    """What is parked in each service, with the service's name."""
    listed = [(service, ask(list_verb)["parkedWorks"]) for service, (list_verb, _) in PARKED.items()]
    return [{"service": service, **work} for service, works in listed for work in works]


def named(task: str) -> str:
    """The resource name of a task id."""
    return f"generations/{plain(task)}"


def plain(name: str) -> str:
    """The id in a resource name; an id as it is."""
    return name.removeprefix("generations/")


def state(generation: dict[str, Any]) -> str:
    """A state without its prefix."""
    return enum_word(generation["state"], "STATE_")


def why(generation: dict[str, Any]) -> str:
    """Why it ended without pictures; empty when it did not."""
    error = generation.get("error")
    return f"{error['reason']}: {error['message']}" if error else ""


def row(generation: dict[str, Any]) -> tuple[str, ...]:
    """A generation as a line of COLUMNS."""
    done = f"{generation['progressPercent']} %"
    created = moment(generation.get("createTime"))
    return plain(generation["name"]), state(generation), done, generation["model"], created, why(generation)


def page_text(page: dict[str, Any]) -> str:
    """A page as a table, and where the next one begins."""
    listed = table(COLUMNS, map(row, page["generations"]))
    following = page["nextPageToken"]
    return f"{listed}\nMore: --page-token {following}" if following else listed


def details(generation: dict[str, Any]) -> str:
    """A generation as a name and a value a line."""
    times = [(word, moment(generation.get(f"{word}Time"))) for word in ("create", "update", "complete")]
    pictures = [("picture", output["uri"] or output["sourceUri"]) for output in generation["outputs"]]
    fields = [*zip(map(str.lower, COLUMNS), row(generation), strict=True)]
    fields = [(name, value) for name, value in fields if name != "created"]
    asked = [("prompt", generation["prompt"]), ("upstream", generation["providerTaskId"])]
    return "\n".join(line((f"{name}:", value), (9, 1)) for name, value in [*fields, *asked, *times, *pictures] if value)


def news_text(generation: dict[str, Any]) -> str:
    """One change as a line."""
    done = f"{generation['progressPercent']} %"
    return line((moment(generation.get("updateTime")), state(generation), done, why(generation)), NEWS_WIDTHS)


def parked_text(answer: dict[str, Any]) -> str:
    """What is parked as a table; the JSON form has the traces."""
    works = answer["parkedWorks"]
    rows = [(work["work"], work["loop"], work["tries"], moment(work["parkTime"]), work["cause"]) for work in works]
    return table(("WORK", "LOOP", "TRIES", "PARKED", "CAUSE"), rows)


def timeline(story: dict[str, Any]) -> str:
    """What happened as a table, to the millisecond: much happens within a second."""
    rows = [(entry.get("time", ""), kind_word(entry["kind"]), entry["text"]) for entry in story["entries"]]
    return table(("TIME", "WHAT", "DETAIL"), rows)


def kind_word(kind: str | int) -> str:
    """The word for a timeline entry's kind, which the proto names by its enum."""
    return enum_word(kind, "KIND_").lower()
