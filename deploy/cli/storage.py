"""`kawaii storage`: what an operator may do with the bytes of a running stack: prove, move, sweep up, sign."""

import sys
import time
from pkgutil import resolve_name
from typing import Any
from urllib.parse import urlencode

import click

from deploy.cli.output import ask, clean, output, show, show_line, walked

IMG = "/api/img"
COPIED_STATES = ("STATE_SUCCEEDED", "STATE_RESULT_LOST")  # STORING is at it already
PAGE = 200
MINUTE = 60.0
FORMATS = ("webp", "jpeg", "png")
HOUR_SECONDS = 3600
listed = click.option("--list", "each", is_flag=True, help="Name every finding; else five of each kind, and counts.")
LONGEST_HOURS = 876_000  # a century; a Duration ends at ten thousand years
MAX_SIDE = 4096  # pixels of a variant, as storage has it


@click.group()
def storage() -> None:
    """Look after stored bytes. Exit 1: something is wrong, refused or not reachable. All may be run again."""


@storage.command()
@click.option("--hash", "read_bytes", is_flag=True, help="Read every byte and compare its hash; else sizes only.")
@listed
@output
def verify(output: str, *, read_bytes: bool, each: bool) -> None:
    """Compare all rows with their bytes; exit 1 if any is wrong."""
    totals = walked("VerifyObjects", output, "Verifying", each=each, read_bytes=read_bytes)
    totals.finish("{done} looked at, {problem_count} wrong.")


@storage.command()
@click.option("--to", "mode", required=True, help="The new backend; it must be STORAGE_MODE.")
@click.option("--delete-source", is_flag=True, help="The last step: remove from the old backend what the new one has.")
@click.option("--dry-run", is_flag=True, help="Count only.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@listed
@output
def migrate(mode: str, output: str, *, delete_source: bool, dry_run: bool, yes: bool, each: bool) -> None:
    """Move all bytes to another backend while everything stays readable.

    First set STORAGE_MODE to the new backend and STORAGE_SECOND_MODE to the old one and restart. Then migrate, and when
    it ends without a problem migrate with --delete-source, or keep the old backend as it is.
    """
    if not delete_source:
        planned = walked("MigrateObjects", output, "Counting", each=each, target_mode=mode, step="STEP_DRY_RUN")
        planned.tell("{changed} are to be copied; {done} lie in the old backend.")
    if dry_run:
        return
    what, label = (
        ("Remove from the old backend what the new one has", "Removing") if delete_source else ("Copy", "Copying")
    )
    if not yes:
        click.confirm(f"{what}?", abort=True, err=True)
    step = "STEP_DELETE_SOURCE" if delete_source else "STEP_COPY"
    moved = walked("MigrateObjects", output, label, each=each, target_mode=mode, step=step)
    moved.finish(
        ("{changed} removed" if delete_source else "{changed} copied") + ", {problem_count} left with problems."
    )


@storage.command()
@click.option(
    "--min-age-hours",
    default=24,
    show_default=True,
    type=click.IntRange(1, LONGEST_HOURS),
    help="Younger is left alone.",
)
@click.option("--delete", is_flag=True, help="Remove it; else only name it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@listed
@output
def gc(min_age_hours: int, output: str, *, delete: bool, yes: bool, each: bool) -> None:
    """Count what nobody needs: bytes without a row, variants without their original, uploads never confirmed.

    A few of each kind are named, with --list each. Only what we provably wrote is ever removed. Files of others, and of
    older sites, are counted and stay; adopt takes their pictures in.
    """
    age = {"seconds": min_age_hours * HOUR_SECONDS}
    if delete and not yes:
        planned = walked("CollectGarbage", output, "Counting", each=each, min_age=age, delete=False)
        click.echo(planned.summary("{changed} would be removed; {left} are not ours and stay."), err=True)
        if not planned.counts["changedCount"]:
            return
        click.confirm("Remove them for good?", abort=True, err=True)
    swept = walked("CollectGarbage", output, "Sweeping", each=each, min_age=age, delete=delete)
    done = "{changed} removed; {left} are not ours and stay."
    swept.tell(done if delete else "{changed} could be removed with --delete; {left} are not ours and stay.")


@storage.command()
@click.option("--prefix", default="", help="Only keys that begin so, as generated/.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Count only.")
@listed
@output
def adopt(prefix: str, output: str, *, yes: bool, dry_run: bool, each: bool) -> None:
    """Take in pictures without a row, as an older site left them: their bytes and addresses stay as they are."""
    if dry_run or not yes:
        planned = walked("AdoptObjects", output, "Counting", each=each, prefix=prefix, adopt=False)
        counted = "{changed} have no row; {problem_count} cannot be taken in by their name or size."
        if dry_run:
            planned.tell(counted)
            return
        click.echo(planned.summary(counted), err=True)
        click.confirm("Take them in?", abort=True, err=True)
    taken = walked("AdoptObjects", output, "Taking in", each=each, prefix=prefix, adopt=True)
    taken.finish("{changed} taken in, {problem_count} are no pictures and stay as they are.")


@storage.command()
@click.option(
    "--per-minute", default=60, show_default=True, type=click.IntRange(1, 6000), help="Most generations a minute."
)
@click.option("-n", "--limit", default=0, type=click.IntRange(min=0), help="Stop after so many; 0: all.")
@click.option("--dry-run", is_flag=True, help="Count only.")
@output
def backfill(per_minute: int, limit: int, output: str, *, dry_run: bool) -> None:
    """Copy the pictures of old generations that were never copied, newest first; exit 1 if some cannot be."""
    lacking = _lacking()
    chosen = lacking[: limit or None]
    if dry_run:
        show({"lackingCount": len(lacking)}, output, lambda _: f"{len(lacking)} generations lack a copy.")
        return
    copied, failed = _copied(chosen, per_minute, output)
    counts = {"copiedCount": copied, "failedCount": failed}
    show(counts, output, lambda _: f"{copied} generations have all their copies now, {failed} still lack some.")
    raise SystemExit(bool(failed))


@storage.command()
@click.argument("key")
@click.option("-w", "--width", required=True, type=click.IntRange(1, MAX_SIDE), help="Most pixels across.")
@click.option("-h", "--height", default=0, type=click.IntRange(0, MAX_SIDE), help="Most pixels down; 0: no bound.")
@click.option("-q", "--quality", default=70, show_default=True, type=click.IntRange(30, 100))
@click.option("-f", "--format", default="webp", show_default=True, type=click.Choice(FORMATS))
@output
def sign(key: str, output: str, **wish: Any) -> None:
    """Print the URL of a variant of KEY in any size: only signed ones may leave the presets."""
    name = f"objects/{key.removeprefix('objects/')}"
    signed = ask("SignVariant", object=name, **wish)
    origin = resolve_name("services.chassis.settings:CommonSettings")().origin
    names = {"width": "w", "height": "h", "quality": "q", "format": "fm"}
    query = {"u": name.removeprefix("objects/"), **{names[word]: value for word, value in wish.items()}}
    uri = f"{origin}{IMG}?{urlencode({**query, 's': signed['signature']})}"
    show({"uri": uri}, output, lambda answer: answer["uri"])


def _lacking() -> list[str]:
    """Names of the generations that lack a copy of a picture, newest first."""
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        page = ask("ListGenerations", states=COPIED_STATES, page_size=PAGE, page_token=token)
        found += [each["name"] for each in page["generations"] if _lacks(each)]
        token = page["nextPageToken"] or None
    return found


def _lacks(generation: dict[str, Any]) -> bool:
    """Whether some picture of it has no copy."""
    return any(not picture["object"] for picture in generation["outputs"])


def _copied(names: list[str], per_minute: int, output: str) -> tuple[int, int]:
    """Try each once, at most so many a minute; how many have all their copies now, and how many do not."""
    done = 0
    with click.progressbar(names, label="Copying", file=sys.stderr) as bar:
        for name in bar:
            began = time.monotonic()
            done += _tried(name, output)
            if name != names[-1]:
                time.sleep(max(0.0, MINUTE / per_minute - (time.monotonic() - began)))
    return done, len(names) - done


def _tried(name: str, output: str) -> bool:
    """Whether one has all its copies now; if not, say why."""
    generation = ask("RecopyGeneration", name=name)
    why = [picture["errorMessage"] for picture in generation["outputs"] if not picture["object"]]
    if why:
        show_line({"name": name, "reasons": why}, output, lambda _: f"{name}: {clean(', '.join(why))}")
    return not why
