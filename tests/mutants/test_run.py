"""A small tree's mutants are killed, survive or hang, and the tree is as before."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.mutants import run as module
from tests.mutants.beside import ImportGraph
from tests.mutants.operators import mutants_of
from tests.mutants.run import Outcome, Run, report, survivors, table
from tests.mutants.trial import Copy

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
def copy(tree: Path, tmp_path: Path) -> Copy:
    return Copy(tree, tmp_path / "copy")


def test_mutants_are_tried_in_a_copy_of_what_git_would_know(tree: Path, copy: Copy) -> None:
    run = Run(ImportGraph(tree), budget=60, ends=time.monotonic() + 60)
    run.copies.put(copy)
    mutants = {mutant.change: mutant for mutant in mutants_of(MODULE, TEXT.encode())}

    outcomes = [run.outcome(mutants["count < 3 → (count <= 3)"]), run.outcome(mutants["5 → 6"])]

    # The second file fails on the true code too, so its failure says nothing about a mutant.
    assert [(outcome.verdict, outcome.test) for outcome in outcomes if outcome] == [
        ("killed", "tests/share/test_likes.py"),
        ("survived", "1 test files"),
    ]
    assert run.failing() == ["tests/share/test_broken.py"]
    assert (tree / MODULE).read_text(encoding="utf-8") == TEXT
    assert (copy.root / MODULE).read_text(encoding="utf-8") == TEXT
    assert not (copy.root / "data").exists()


def test_whatever_a_test_leaves_running_ends_with_the_trial(copy: Copy) -> None:
    leaving = (
        "import subprocess, pathlib\n"
        "def test_leaves_a_child():\n"
        "    child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "    pathlib.Path('pid').write_text(str(child.pid))\n"
    )
    (copy.root / "tests/share/test_leaving.py").write_text(leaving, encoding="utf-8")
    (mutant, *_) = mutants_of(MODULE, TEXT.encode())

    assert copy.tried(mutant, "tests/share/test_leaving.py", 60) == "survived"
    assert not psutil.pid_exists(int((copy.root / "pid").read_text(encoding="utf-8")))


def test_a_test_without_an_end_is_timed_out_and_the_module_is_as_before(copy: Copy) -> None:
    (copy.root / "tests/share/test_hanging.py").write_text("while True: pass\n", encoding="utf-8")
    (mutant, *_) = mutants_of(MODULE, TEXT.encode())

    assert copy.tried(mutant, "tests/share/test_hanging.py", 0.5) == "timed out"
    assert (copy.root / MODULE).read_text(encoding="utf-8") == TEXT


def test_no_mutant_begins_after_the_end(tree: Path, copy: Copy) -> None:
    run = Run(ImportGraph(tree), budget=60, ends=time.monotonic() - 1)
    run.copies.put(copy)

    assert run.outcome(mutants_of(MODULE, TEXT.encode())[0]) is None


def test_the_table_counts_by_stratum_and_the_report_names_survivors(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third, fourth = mutants_of(MODULE, TEXT.encode())[:4]
    outcomes = [
        Outcome(first, "killed", "a"),
        Outcome(second, "survived", "b"),
        Outcome(third, "timed out", "c"),
        Outcome(fourth, "killed", "d"),
    ]

    assert table(outcomes).splitlines()[2:] == [
        "| share core | 4 | 2 | 1 | 1 | 75 |",
        "| all | 4 | 2 | 1 | 1 | 75 |",
    ]
    assert survivors(outcomes) == f"| {MODULE}:{second.line} | `{second.change}` |"
    assert report(outcomes, wanted=5, left_out=["test_slow.py"])
    assert "before 1 of the 5 mutants" in (said := capsys.readouterr().out)
    assert "test_slow.py" in said


@pytest.mark.parametrize(("survived", "code"), [(0, 0), (1, 0), (2, 1), (10, 1)])
def test_fewer_than_ninety_percent_are_too_few(survived: int, code: int) -> None:
    mutant = mutants_of(MODULE, TEXT.encode())[0]
    outcomes = [Outcome(mutant, "survived" if number < survived else "killed", "a") for number in range(10)]

    assert report(outcomes, wanted=10, left_out=[]) == code


def test_the_same_seed_lists_the_same_sample(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(seed: str) -> str:
        assert module.main(["--sample", "20", "--seed", seed, "--list"]) == 0
        return capsys.readouterr().out

    assert listed("a") == listed("a") != listed("b")
    assert "20 of " in listed("a")
    assert "--seed a" in listed("a")
