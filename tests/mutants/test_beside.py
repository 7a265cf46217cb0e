"""Which test files are found beside a module."""

from pathlib import Path

import pytest

from tests.mutants.beside import ImportGraph

TREE = Path(__file__).parents[2]
FILES = {
    "services/share/core/likes.py": "",
    "services/share/__main__.py": "import services.share.core.likes",
    "services/share/core/other.py": "",
    "tests/share/test_likes.py": "from services.share.helper import a",
    "services/share/helper.py": "from services.share.core import likes",
    "tests/share/test_direct.py": "from services.share.core.likes import a",
    "tests/share/through/conftest.py": "def a():\n    from services.share.helper import b",
    "tests/share/through/test_fixture.py": "",
    "tests/share/test_program.py": 'PROGRAM = "services.share"',
    "tests/share/test_stranger.py": "from services.share.core import other",
    "tests/e2e/test_likes.py": "from services.share.core import likes",
    "tests/community/test_likes.py": "from services.share.core import likes",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for file, text in FILES.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_mirroring_file_comes_first_and_then_the_shortest_way_a_started_program_included(tree: Path) -> None:
    assert ImportGraph(tree).tests_beside("services/share/core/likes.py") == [
        "tests/share/test_likes.py",
        "tests/share/test_direct.py",
        "tests/share/test_program.py",
        "tests/share/through/test_fixture.py",
    ]


@pytest.mark.parametrize(
    ("module", "nearest"),
    [
        ("services/storage/backends/failover.py", "tests/storage/backends/test_failover.py"),
        ("services/generation/stores/outbox.py", "tests/generation/stores/test_outbox.py"),
        ("gateway/response_cache.py", "tests/gateway/test_response_cache.py"),
        (
            "gateway/routes/image_site/input_images.py",
            "tests/gateway/routes/image_site/test_orders.py",
        ),  # bears the name of who imports it
    ],
)
def test_real_modules_meet_their_own_test_first(module: str, nearest: str) -> None:
    assert ImportGraph(TREE).tests_beside(module)[0] == nearest
