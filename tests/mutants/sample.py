"""A seeded sample of mutants that takes from every stratum as much as the stratum's share of all mutants."""

import random
from fnmatch import fnmatch
from pathlib import Path

from tests.mutants.operators import Mutant, mutants_of

# Where the promises are kept: the business, stores, providers, where bytes lie, what the gateway repeats, transactions.
STRATA = {
    "generation core": (
        "services/generation/core/*.py",
        "services/generation/workers/*.py",
        "services/generation/callbacks/*.py",
        "services/generation/key_pool/*.py",
    ),
    "generation stores": ("services/generation/stores/*.py",),
    "generation providers": ("services/generation/providers/*.py",),
    "storage core": ("services/storage/core/*.py",),
    "storage stores": ("services/storage/stores/*.py",),
    "storage backends": ("services/storage/backends/*.py",),
    "share core": ("services/share/core/*.py",),
    "share stores": ("services/share/stores/*.py",),
    "community core": ("services/community/core/*.py",),
    "community stores": ("services/community/stores/*.py",),
    "response cache": ("gateway/response_cache.py",),
    "data layer": ("services/chassis/database/*.py",),
}


# Compared with what the migrations make, column by column (tests/*/stores/test_tables.py); rows are made by migrations.
DECLARATIONS = frozenset({"tables.py"})


def population(tree: Path) -> dict[str, list[Mutant]]:
    """Every mutant of a tree, by stratum."""
    return {
        stratum: [
            mutant
            for path in sorted(path for pattern in patterns for path in tree.glob(pattern))
            if path.name not in DECLARATIONS
            for mutant in mutants_of(path.relative_to(tree).as_posix(), path.read_bytes())
        ]
        for stratum, patterns in STRATA.items()
    }


def stratum_of(mutant: Mutant) -> str:
    """The stratum a mutant's module belongs to."""
    return next(name for name, patterns in STRATA.items() if any(fnmatch(mutant.path, each) for each in patterns))


def sampled(everything: dict[str, list[Mutant]], size: int, seed: str) -> list[Mutant]:
    """So many mutants, in the order in which they are tried; the same ones for the same tree, size and seed.

    A run that ends early has tried the first of every stratum, not all of one.
    """
    dice = random.Random(seed)
    shares = _shares({name: len(mutants) for name, mutants in everything.items()}, size)
    chosen = [mutant for name, share in shares.items() for mutant in dice.sample(everything[name], share)]
    dice.shuffle(chosen)
    return chosen


def _shares(sizes: dict[str, int], wanted: int) -> dict[str, int]:
    """How many of each stratum: in proportion, at least one, the largest remainders first."""
    total = sum(sizes.values())
    wanted = min(wanted, total)
    exact = {name: wanted * size / total for name, size in sizes.items()}
    shares = {name: min(sizes[name], max(1, int(part))) for name, part in exact.items()}
    by_remainder = sorted(exact, key=lambda name: exact[name] - shares[name], reverse=True)
    for name in by_remainder * (wanted + 1):
        if sum(shares.values()) >= wanted:
            break
        shares[name] += shares[name] < sizes[name]
    return shares
