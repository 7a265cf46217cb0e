"""Counts likes and favourites in every place that has a number of them, and compares each with the model."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import func, select

from services.chassis.database import open_database
from services.chassis.settings import CommonSettings
from services.community.stores.tables import artwork, artwork_favorite, artwork_like
from tests.chaos.admirers import History
from tests.e2e.community.callers import caller
from tests.e2e.stack import ROOT, Stack

COUNTS = {"like": ("like_count", artwork_like), "favorite": ("favorite_count", artwork_favorite)}
SHOWN = {"like": "like_count", "favorite": "fav_count"}  # in an answer
PAGE = 100
Counts = Mapping[str, Mapping[str, int]]


async def miscounted(stack: Stack, artworks: list[str], history: History) -> list[str]:
    """Every count that is another than the model's: in the columns, of the rows, and in answers."""
    kept, answered = await stored(stack), shown(stack, artworks)
    wrong = []
    for word in COUNTS:
        model = history.counted(word)
        for source, counts in {**kept, **answered}.items():
            wrong += [
                f"{identifier}: {source} say {counts[word].get(identifier, 0)} of {word}, the model {model[identifier]}"
                for identifier in artworks
                if counts[word].get(identifier, 0) != model[identifier]
            ]
    return wrong


async def stored(stack: Stack) -> dict[str, Counts]:
    """What the database holds."""
    settings = CommonSettings(data_dir=stack.data, database_url="", _env_file=None)
    columns: dict[str, dict[str, int]] = {}
    rows: dict[str, dict[str, int]] = {}
    async with open_database(settings, "community") as database, database.read() as connection:
        for word, (column, relation) in COUNTS.items():
            columns[word] = dict(iter(await connection.execute(select(artwork.c.id, artwork.c[column]))))
            counted = select(relation.c.artwork_id, func.count()).group_by(relation.c.artwork_id)
            rows[word] = dict(iter(await connection.execute(counted)))
    return {"the columns": columns, "the rows": rows}


def shown(stack: Stack, artworks: list[str]) -> dict[str, Counts]:
    """What a stranger is told by the feed, and by the state of all at once."""
    with caller(stack) as stranger:
        cards = {card["id"]: card for card in stranger.ok("GET", "/api/feed", params={"limit": PAGE})}
        states = stranger.ok("POST", "/api/artworks/batch/state", json={"artworkIds": artworks})
    told: dict[str, Mapping[str, Mapping[str, Any]]] = {"the feed's cards": cards, "the states": states}
    return {
        source: {word: {key: each[name] for key, each in found.items()} for word, name in SHOWN.items()}
        for source, found in told.items()
    }


def drifted(stack: Stack) -> list[str]:
    """What `kawaii counters reconcile` finds, as an operator runs it."""
    command = [sys.executable, "-m", "deploy.cli.main", "counters", "reconcile", "--dry-run", "-o", "json"]
    environment = {"INTERNAL_PORT_BASE": str(stack.base), "PATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    answer = orjson.loads(done.stdout)
    return [f"drift {answer['drift']}: {answer['artworks']}"] if answer["drift"] != "0" else []
