"""What a stack wrote is read although its writers died at it."""

from pathlib import Path

from tests.chaos.diary import REFUSED, Diary, Hit, Piece

LINES = (
    '{"generation": "gen_1", "event": "fence_lost"}',
    '{"generation": "gen_2", "event": "work_postponed"}',
    '{"generation": "gen_3", "event": "rpc", "cause": "fence_lost"}',
    "Traceback: fence_lost",
    '{"generation": "gen_4", "event": "fence_lo',
)


def test_log_lines_of_an_event_are_told_by_every_process(tmp_path: Path) -> None:
    (tmp_path / "generation.log").write_text("\n".join(LINES))
    (tmp_path / "generation-2.log").write_text('{"generation": "gen_5", "event": "fence_lost"}\n')
    (tmp_path / "community.log").write_text('{"work": "art_6", "event": "fence_lost"}\n')
    (tmp_path / "failpoints.log").write_text("1.0 reply.read error 8 gen_2\n")

    assert len(Diary(tmp_path).told(REFUSED)) == 3


def test_work_that_failed_unexpectedly_is_told_whichever_loop_it_was_in(tmp_path: Path) -> None:
    (tmp_path / "generation.log").write_text(
        '{"work": "gen_1", "loop": "poll", "cause": "KeyError at a.py:1", "event": "work_failed"}\n'
        '{"callback": "cb_1", "exception": "Traceback: ValueError", "event": "callback_failed"}\n'
    )
    (tmp_path / "community.log").write_text('{"work": "art_1", "cause": "TypeError", "event": "work_failed"}\n')

    assert sorted(Diary(tmp_path).crashes()) == [
        "art_1: TypeError",
        "cb_1: Traceback: ValueError",
        "gen_1: KeyError at a.py:1",
    ]


def test_a_piece_of_work_belongs_to_one_process_and_has_no_end_when_that_process_died(tmp_path: Path) -> None:
    lines = (
        "1.0 work begun 7 gen_1#1",
        "1.5 work begun 8 gen_1#1",
        "2.0 work done 8 gen_1#1",
        "2.5 reply.read error 8 gen_2",
        "3.0 work begun 8 gen_1#2",
        "3.5 work FenceLost 8 gen_1#2",
    )
    (tmp_path / "failpoints.log").write_text("\n".join(lines))

    assert Diary(tmp_path).pieces() == [
        Piece("gen_1", 7, 1.0),
        Piece("gen_1", 8, 1.5, 2.0, "done"),
        Piece("gen_1", 8, 3.0, 3.5, "FenceLost"),
    ]
    assert Diary(tmp_path).hits() == [Hit(2.5, "reply.read", "error", 8, "gen_2")]


def test_a_process_that_takes_work_again_after_its_lease_has_two_pieces_of_it(tmp_path: Path) -> None:
    """The first hears that its lease is lost; the answer dies with the second."""
    lines = ("1.0 work begun 7 gen_1#1", "3.0 work begun 7 gen_1#2", "3.5 work FenceLost 7 gen_1#1")
    (tmp_path / "failpoints.log").write_text("\n".join(lines))

    assert Diary(tmp_path).pieces() == [Piece("gen_1", 7, 1.0, 3.5, "FenceLost"), Piece("gen_1", 7, 3.0)]


def test_hits_are_counted_by_point_and_action(tmp_path: Path) -> None:
    (tmp_path / "failpoints.log").write_text("1.500 reply.read kill 7 -\n2.000 reply.read error 8 gen_1\n")
    diary = Diary(tmp_path)

    assert diary.hits() == [Hit(1.5, "reply.read", "kill", 7), Hit(2.0, "reply.read", "error", 8, "gen_1")]
    assert diary.counted("kill") == {"reply.read": 1}


def test_a_stack_that_was_not_struck_has_no_hits(tmp_path: Path) -> None:
    assert Diary(tmp_path).hits() == []
