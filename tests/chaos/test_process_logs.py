"""The logs of a stack are read although its processes were killed while they wrote."""

from pathlib import Path

from tests.chaos.process_logs import FENCE_LOST, FailpointHit, ProcessLogs, WorkSpan

LINES = (
    '{"generation": "gen_1", "event": "fence_lost"}',
    '{"generation": "gen_2", "event": "work_postponed"}',
    '{"generation": "gen_3", "event": "rpc", "cause": "fence_lost"}',
    "Traceback: fence_lost",
    '{"generation": "gen_4", "event": "fence_lo',
)


def test_log_lines_of_an_event_are_read_from_every_process(tmp_path: Path) -> None:
    (tmp_path / "generation.log").write_text("\n".join(LINES))
    (tmp_path / "generation-2.log").write_text('{"generation": "gen_5", "event": "fence_lost"}\n')
    (tmp_path / "community.log").write_text('{"work": "art_6", "event": "fence_lost"}\n')
    (tmp_path / "failpoints.log").write_text("1.0 reply.read error 8 gen_2\n")

    assert len(ProcessLogs(tmp_path).events(FENCE_LOST)) == 3


def test_work_that_failed_unexpectedly_is_found_in_any_loop(tmp_path: Path) -> None:
    (tmp_path / "generation.log").write_text(
        '{"work": "gen_1", "loop": "poll", "cause": "KeyError at a.py:1", "event": "work_failed"}\n'
        '{"callback": "cb_1", "exception": "Traceback: ValueError", "event": "callback_failed"}\n'
    )
    (tmp_path / "community.log").write_text('{"work": "art_1", "cause": "TypeError", "event": "work_failed"}\n')

    assert sorted(ProcessLogs(tmp_path).crashes()) == [
        "art_1: TypeError",
        "cb_1: Traceback: ValueError",
        "gen_1: KeyError at a.py:1",
    ]


def test_a_span_of_work_belongs_to_one_process_and_has_no_end_when_that_process_was_killed(tmp_path: Path) -> None:
    lines = (
        "1.0 work begun 7 gen_1#1",
        "1.5 work begun 8 gen_1#1",
        "2.0 work done 8 gen_1#1",
        "2.5 reply.read error 8 gen_2",
        "3.0 work begun 8 gen_1#2",
        "3.5 work FenceLost 8 gen_1#2",
    )
    (tmp_path / "failpoints.log").write_text("\n".join(lines))

    assert ProcessLogs(tmp_path).spans() == [
        WorkSpan("gen_1", 7, 1.0),
        WorkSpan("gen_1", 8, 1.5, 2.0, "done"),
        WorkSpan("gen_1", 8, 3.0, 3.5, "FenceLost"),
    ]
    assert ProcessLogs(tmp_path).hits() == [FailpointHit(2.5, "reply.read", "error", 8, "gen_2")]


def test_a_process_that_takes_work_again_after_its_lease_has_two_spans_of_it(tmp_path: Path) -> None:
    """The first ends with its lease lost; the answer is lost with the second."""
    lines = ("1.0 work begun 7 gen_1#1", "3.0 work begun 7 gen_1#2", "3.5 work FenceLost 7 gen_1#1")
    (tmp_path / "failpoints.log").write_text("\n".join(lines))

    assert ProcessLogs(tmp_path).spans() == [WorkSpan("gen_1", 7, 1.0, 3.5, "FenceLost"), WorkSpan("gen_1", 7, 3.0)]


def test_hits_are_counted_by_point_and_action(tmp_path: Path) -> None:
    (tmp_path / "failpoints.log").write_text("1.500 reply.read kill 7 -\n2.000 reply.read error 8 gen_1\n")
    logs = ProcessLogs(tmp_path)

    assert logs.hits() == [
        FailpointHit(1.5, "reply.read", "kill", 7),
        FailpointHit(2.0, "reply.read", "error", 8, "gen_1"),
    ]
    assert logs.counted("kill") == {"reply.read": 1}


def test_a_stack_without_a_log_of_failpoints_has_no_hits(tmp_path: Path) -> None:
    assert ProcessLogs(tmp_path).hits() == []
