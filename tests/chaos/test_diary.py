"""What a town wrote is read although its writers died at it."""

from pathlib import Path

from tests.chaos.diary import CRASHED, POSTPONED, REFUSED, Diary, Hit

LINES = (
    '{"generation": "gen_1", "event": "fence_lost"}',
    '{"generation": "gen_2", "event": "work_postponed"}',
    '{"generation": "gen_3", "event": "rpc", "cause": "fence_lost"}',
    "Traceback: fence_lost",
    '{"generation": "gen_4", "event": "fence_lo',
)


def test_work_that_was_let_go_is_told_by_every_generation_process(tmp_path: Path) -> None:
    (tmp_path / "generation.log").write_text("\n".join(LINES))
    (tmp_path / "generation-2.log").write_text('{"generation": "gen_5", "event": "fence_lost"}\n')
    (tmp_path / "storage.log").write_text('{"generation": "gen_6", "event": "fence_lost"}\n')
    diary = Diary(tmp_path)

    assert diary.let_go() == {"gen_1", "gen_2", "gen_5"}
    assert [len(diary.told(event)) for event in (REFUSED, POSTPONED, CRASHED)] == [2, 1, 0]


def test_hits_are_counted_by_point_and_action(tmp_path: Path) -> None:
    (tmp_path / "failpoints.log").write_text("1.500 reply.read kill 7\n2.000 reply.read error 8\n")
    diary = Diary(tmp_path)

    assert diary.hits() == [Hit(1.5, "reply.read", "kill"), Hit(2.0, "reply.read", "error")]
    assert diary.counted("kill") == {"reply.read": 1}


def test_a_town_that_was_not_struck_has_no_hits(tmp_path: Path) -> None:
    assert Diary(tmp_path).hits() == []
