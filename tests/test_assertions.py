"""Every test asserts something itself, calls a helper that does, or is listed here with the reason why it can fail."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
# Helpers that raise when what they expect does not come, by the reason.
ASSERTING = {
    "refused": "expects an error of this kind, reason and field",
    "expect": "playwright's assertion on a page",
    "sees": "waits until a page shows these words, with a time limit",
    "until": "waits until a condition holds, with a time limit",
    "eventually": "waits until a condition holds, with a time limit",
    "assert_promises_kept": "asserts every row of a chaos run's report",
    "wait_for": "asyncio's own time limit, shorter than what a lost signal would wait",
}
# Tests whose only failure is an exception of what they call.
ALLOWED = {
    "chassis/test_outbound.py::test_a_url_that_only_a_name_server_or_a_visit_could_tell_from_an_honest_one_passes": (
        "a refusal raises InvalidArgument; another test asserts that the function does refuse"
    ),
    "chassis/test_outbound.py::test_an_exempt_place_may_be_private": "as the one before",
    "chassis/test_redis_url.py::test_a_redis_that_is_away_does_not_keep_a_process_from_starting": (
        "a refusal raises SystemExit; other tests assert that the function does refuse"
    ),
    "chassis/test_redis_url.py::test_without_tls_nothing_is_looked_at": "as the one before",
    "e2e/community/test_site.py::test_an_uploaded_picture_is_changed": "generated(), of the same file, asserts",
    "deploy/launcher/test_preflight.py::test_data_is_free_again_once_its_stack_has_ended": (
        "a claim that is not given back raises LaunchError; another test asserts that a held claim is refused"
    ),
    "gateway/routes/image_site/test_openapi.py::test_every_schema_is_one": "a schema that is none raises",
}


def test_every_test_can_fail() -> None:
    silent = {name for name, test in every_test(TESTS) if not asserts(test)}

    assert silent - ALLOWED.keys() == set(), "assert an effect, or add the test here with the reason why it can fail"
    assert ALLOWED.keys() - silent == set(), "these assert by now, or are gone: remove them here"


def test_a_silent_test_is_found_and_one_that_asserts_is_not(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(
        "def test_silent():\n    work()\n"
        "def test_asserting():\n    assert work()\n"
        "async def test_refused():\n    with pytest.raises(Error):\n        await work()\n"
        "async def test_waiting():\n    await until(done)\n"
        "class TestGroup:\n    def test_silent_too(self):\n        work()\n",
        encoding="utf-8",
    )

    silent = [name for name, test in every_test(tmp_path) if not asserts(test)]

    assert silent == ["test_sample.py::test_silent", "test_sample.py::test_silent_too"]


def every_test(folder: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every test function, by its file and name."""
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{path.relative_to(folder).as_posix()}::{node.name}", node


def asserts(test: ast.AST) -> bool:
    """Whether a test asserts, expects an error, or calls a helper that does."""
    return any(isinstance(node, ast.Assert) or expects(node) for node in ast.walk(test))


def expects(node: ast.AST) -> bool:
    """Whether a node calls something that fails by itself."""
    if not isinstance(node, ast.Call):
        return False
    if ast.unparse(node.func) in {"pytest.raises", "pytest.warns", "pytest.fail"}:
        return True
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in ASSERTING
        case _:
            return False
