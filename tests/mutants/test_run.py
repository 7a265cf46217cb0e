"""A small tree's mutants are killed, survive or hang, and the tree is as before."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.mutants import choice as choice_module
from tests.mutants import run as module
from tests.mutants.beside import ImportGraph
from tests.mutants.choice import Choice
from tests.mutants.operators import Mutant, mutants_of
from tests.mutants.run import Outcome, Results, outcome, report, survivors, table, try_all
from tests.mutants.trial import Copy, opened

MODULE = "services/share/core/likes.py"
TEXT = "def allowed(count):\n    return count < 3\n\n\ndef forgotten():\n    return 5\n"
TESTS = {
    "tests/share/test_likes.py": "from services.share.core.likes import allowed\n"
    "def test_three_are_too_many():\n    assert allowed(2) and not allowed(3)\n",
    "tests/share/test_broken.py": "import services.share.core.likes\ndef test_fails_always():\n    assert False\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    packages = {f"services/{part}__init__.py": "" for part in ("", "share/", "share/core/")}
    for file, text in {MODULE: TEXT, **packages, ".gitignore": "data/\n", "data/secret": "kept here", **TESTS}.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Iterator[Copy]:
    with opened(tree, tmp_path / "copy", libraries=()) as made:
        yield made


def named(change: str) -> Mutant:
    return {mutant.change: mutant for mutant in mutants_of(MODULE, TEXT.encode())}[change]


def chosen(tree: Path, copy: Copy, tmp_path: Path) -> Choice:
    return Choice(ImportGraph(tree), copy, tmp_path, [MODULE])


def test_mutants_are_tried_in_a_copy_of_what_git_would_know(tree: Path, copy: Copy, tmp_path: Path) -> None:
    choice = chosen(tree, copy, tmp_path)

    outcomes = [outcome(choice, named(change)) for change in ("count < 3 → (count <= 3)", "5 → 6")]

    # The second file fails on the true code too, so its failure says nothing about a mutant.
    assert [(found.verdict, found.test) for found in outcomes] == [
        ("killed", "tests/share/test_likes.py::test_three_are_too_many"),
        ("survived", "4 tests"),
    ]
    assert (tree / MODULE).read_text(encoding="utf-8") == TEXT
    assert (copy.root / MODULE).read_text(encoding="utf-8") == TEXT
    assert not (copy.root / "data").exists()


def test_a_mutant_meets_first_the_tests_that_execute_its_line(tree: Path, copy: Copy, tmp_path: Path) -> None:
    """Each file is recorded once; a line that no test of this process executes is met by the nearest files whole."""
    choice = chosen(tree, copy, tmp_path)

    assert list(choice.rounds(named("count < 3 → (count <= 3)"))) == [
        ["tests/share/test_likes.py::test_three_are_too_many"]
    ]
    assert list(choice.rounds(named("5 → 6"))) == [
        [
            "tests/share/test_likes.py",
            "tests/share/test_broken.py",
            "-k",
            f"{choice_module.ENGINES} and {choice_module.BUCKETS}",
        ]
    ]
    assert len(list(tmp_path.glob("tests.share.test_likes.py.*.json"))) == 1


def test_whatever_a_test_leaves_running_ends_with_the_trial(copy: Copy) -> None:
    leaving = (
        "import subprocess, pathlib\n"
        "def test_leaves_a_child():\n"
        "    child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "    pathlib.Path('pid').write_text(str(child.pid))\n"
    )
    (copy.root / "tests/share/test_leaving.py").write_text(leaving, encoding="utf-8")

    assert copy.tried(named("5 → 6"), ["tests/share/test_leaving.py"], 60).passed
    assert not psutil.pid_exists(int((copy.root / "pid").read_text(encoding="utf-8")))


def test_a_test_without_an_end_is_timed_out_and_the_next_trial_works(copy: Copy) -> None:
    (copy.root / "tests/share/test_hanging.py").write_text("while True: pass\n", encoding="utf-8")

    assert copy.tried(named("5 → 6"), ["tests/share/test_hanging.py"], 5).code is None
    assert (copy.root / MODULE).read_text(encoding="utf-8") == TEXT
    assert copy.run(["tests/share/test_likes.py"], 60).passed


def test_a_run_that_was_cut_goes_on_and_one_of_another_code_begins_anew(tmp_path: Path) -> None:
    file, mutant = tmp_path / "results.jsonl", named("5 → 6")
    Results(file, {"code": "a"}).add(Outcome(mutant, "killed", "a test", 1.0))

    again = Results(file, {"code": "a"})
    assert again.continues
    assert again.of(mutant) == Outcome(mutant, "killed", "a test", 1.0)
    other = Results(file, {"code": "b"})
    assert not other.continues
    assert other.of(mutant) is None


def test_no_mutant_begins_after_the_end(tree: Path, copy: Copy, tmp_path: Path) -> None:
    results, choice = Results(tmp_path / "results.jsonl", {"code": "a"}), chosen(tree, copy, tmp_path)

    try_all([named("5 → 6")], results, choice, time.monotonic() - 1)

    assert results.of(named("5 → 6")) is None


def test_survivors_are_tried_again_with_more_tests_and_the_last_verdict_counts(
    tree: Path, copy: Copy, tmp_path: Path
) -> None:
    results, choice = Results(tmp_path / "results.jsonl", {"code": "a"}), chosen(tree, copy, tmp_path)
    mutant = named("5 → 6")
    results.add(Outcome(mutant, "survived", "0 tests", 1))
    noticing = (
        "from services.share.core.likes import forgotten\ndef test_five() -> None:\n    assert forgotten() == 5\n"
    )
    (copy.root / "tests/share/test_likes.py").write_text(noticing, encoding="utf-8")

    try_all([mutant], results, choice, time.monotonic() + 60)

    found = results.of(mutant)
    assert found
    assert (found.verdict, found.test) == ("killed", "tests/share/test_likes.py::test_five")


def test_the_table_counts_by_stratum_and_the_report_names_survivors(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third, fourth = mutants_of(MODULE, TEXT.encode())[:4]
    outcomes = [
        Outcome(first, "killed", "a", 1),
        Outcome(second, "survived", "b", 1),
        Outcome(third, "timed out", "c", 1),
        Outcome(fourth, "killed", "d", 1),
    ]

    assert table(outcomes).splitlines()[2:] == [
        "| share core | 4 | 2 | 1 | 1 | 75 |",
        "| all | 4 | 2 | 1 | 1 | 75 |",
    ]
    assert survivors(outcomes) == f"| {MODULE}:{second.line} | `{second.change}` |"
    assert report(outcomes, wanted=5)
    assert "before 1 of the 5 mutants" in capsys.readouterr().out


@pytest.mark.parametrize(("survived", "code"), [(0, 0), (1, 0), (2, 1), (10, 1)])
def test_fewer_than_ninety_percent_are_too_few(survived: int, code: int) -> None:
    mutant = mutants_of(MODULE, TEXT.encode())[0]
    outcomes = [Outcome(mutant, "survived" if number < survived else "killed", "a", 1) for number in range(10)]

    assert report(outcomes, wanted=10) == code


def test_the_same_seed_lists_the_same_sample(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(seed: str) -> str:
        assert module.main(["--sample", "20", "--seed", seed, "--list"]) == 0
        return capsys.readouterr().out

    assert listed("a") == listed("a") != listed("b")
    assert "20 of " in listed("a")
    assert "--seed a" in listed("a")
