"""A sample repeats by its seed and leaves no stratum out."""

from collections import Counter
from pathlib import Path

from tests.mutants.operators import Mutant
from tests.mutants.sample import STRATA, population, sampled, stratum_of

TREE = Path(__file__).parents[2]


def made(name: str, count: int) -> list[Mutant]:
    return [Mutant(name, line, line, line + 1, "1", "2") for line in range(count)]


EVERYTHING = {"large": made("large", 700), "middle": made("middle", 296), "small": made("small", 4)}


def test_the_same_seed_chooses_the_same_mutants_and_another_seed_others() -> None:
    assert sampled(EVERYTHING, 50, "a") == sampled(EVERYTHING, 50, "a") != sampled(EVERYTHING, 50, "b")


def test_each_stratum_has_its_share_and_at_least_one_mutant() -> None:
    chosen = sampled(EVERYTHING, 50, "a")

    assert Counter(mutant.path for mutant in chosen) == {"large": 35, "middle": 14, "small": 1}
    assert len(set(chosen)) == 50


def test_a_sample_larger_than_all_is_all() -> None:
    assert len(set(sampled(EVERYTHING, 5000, "a"))) == 1000


def test_every_stratum_of_this_tree_has_mutants_that_know_where_they_belong() -> None:
    found = population(TREE)

    assert list(found) == list(STRATA)
    for stratum, mutants in found.items():
        assert {stratum_of(mutant) for mutant in mutants} == {stratum}
