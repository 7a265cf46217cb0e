"""Which changes are made of a module, and which are not."""

import ast
from pathlib import Path

import pytest

from tests.mutants.operators import mutants_of

REAL = Path(__file__).parents[2] / "gateway/response_cache.py"


def changes(source: str) -> set[str]:
    return {mutant.change for mutant in mutants_of("module.py", source.encode())}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("found = a < b", {"a < b → (a <= b)"}),
        ("found = a == b", {"a == b → (a != b)"}),
        ("found = a is None", {"a is None → (a is not None)"}),
        ("found = a in b", {"a in b → (a not in b)"}),
        ("found = a < b < c", {"a < b < c → (a <= b < c)", "a < b < c → (a < b <= c)"}),
        ("found = a and b", {"a and b → ((a) or (b))"}),
        ("found = a or b", {"a or b → ((a) and (b))"}),
        ("found = not a", {"not a → (a)"}),
        ("found = 7", {"7 → 8", "7 → (6)"}),
        ("found = 0.5", {"0.5 → 1.5"}),
        ("found = True", {"True → False"}),
        ("store.put(a)", {"store.put(a) → pass"}),
        ("count += step", {"count += step → pass"}),
        ("row['a'] = b", {"row['a'] = b → pass"}),
        ("del row['a']", {"del row['a'] → pass"}),
        ("found = a + b", {"a + b → (a - b)"}),
        ("found = a * 1000", {"a * 1000 → (a // 1000)"}),
        ("if a:\n    b", {"a → (not (a))"}),
        ("while a:\n    b", {"a → (not (a))"}),
        ("async def f():\n    await g()", {"await g() → pass"}),
        ("def f():\n    return g()", {"return g() → return None"}),
        ("def f():\n    raise Error", {"raise Error → pass"}),
    ],
)
def test_each_operator_makes_its_change(source: str, wanted: set[str]) -> None:
    assert changes(source) == wanted


@pytest.mark.parametrize(
    "source",
    [
        '"""Only words."""',
        "def f(a: Literal[1]) -> Literal[2]: ...",
        "@cached(1)\ndef f(): ...",
        "def f():\n    return None",
        'logger.info("sent", count=1)',
        "if TYPE_CHECKING:\n    import a",
        "class A:\n    def __init__(self, b):\n        self._b = b",
        'found = f"{a + 1}"',
        "del unused",
        "MAX_TRIES = 5",
        "class A:\n    tries: int = 5",
        "def f(tries=5): ...",
        "found = zip(a, b, strict=True)",
        "seconds = 3600",
        'found = "a" + b',
        'async def f():\n    await failpoints.reach("put.linked")',
        "class A:\n    def __repr__(self):\n        return f()",
    ],
)
def test_what_no_test_can_or_should_notice_is_left_alone(source: str) -> None:
    assert changes(source) == set()


def test_a_change_replaces_its_own_place_only_behind_letters_of_several_bytes_too() -> None:
    source = 'a = "böse 狐"; b = 1\nc = 1\n'.encode()

    texts = [mutant.applied(source).decode() for mutant in mutants_of("module.py", source)]

    assert texts == [
        'a = "böse 狐"; b = (0)\nc = 1\n',
        'a = "böse 狐"; b = 2\nc = 1\n',
        'a = "böse 狐"; b = 1\nc = (0)\n',
        'a = "böse 狐"; b = 1\nc = 2\n',
    ]


def test_every_mutant_of_a_real_module_is_python_and_differs_from_it() -> None:
    source = REAL.read_bytes()

    found = mutants_of("module.py", source)

    assert len(found) > 20
    for mutant in found:
        assert ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source)), mutant.change
