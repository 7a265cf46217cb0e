"""Answers are kept for a moment, within a bound, and can all be forgotten at once."""

from prometheus_client import Counter

from gateway.byte_cache import OVERHEAD_BYTES, Answer, ByteCache

SERVED = Counter("test_served", "Answers of this test.", registry=None)


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def answer(size: int = 10) -> Answer:
    return Answer([], b"x" * size, b'"e"', SERVED)


def cache(seconds: float = 1, answers: int = 10, clock: Clock | None = None) -> ByteCache:
    return ByteCache(seconds, answers * (OVERHEAD_BYTES + 10), clock or Clock())


def test_an_answer_is_given_until_its_time_is_over() -> None:
    clock = Clock()
    kept, given = cache(clock=clock), answer()
    kept.put("a", given, kept.epoch)

    assert kept.get("a") is given
    assert kept.get("b") is None
    clock.now += 0.99
    assert kept.get("a") is given
    clock.now += 0.01
    assert kept.get("a") is None


def test_clearing_forgets_everything_and_what_was_on_its_way() -> None:
    kept = cache()
    kept.put("a", answer(), kept.epoch)
    begun = kept.epoch
    kept.clear()
    kept.put("b", answer(), begun)

    assert kept.get("a") is kept.get("b") is None
    kept.put("c", answer(), kept.epoch)
    assert kept.get("c")


def test_the_oldest_answers_make_room() -> None:
    kept = cache(answers=3)
    for key in "abacd":
        kept.put(key, answer(), kept.epoch)

    assert [key for key in "abcd" if kept.get(key)] == ["a", "c", "d"]


def test_an_answer_beyond_the_bound_is_not_kept_and_costs_the_others_nothing_for_long() -> None:
    kept = cache(answers=3)
    kept.put("a", answer(10 * OVERHEAD_BYTES), kept.epoch)
    assert kept.get("a") is None

    for key in "bcd":
        kept.put(key, answer(), kept.epoch)
    assert all(map(kept.get, "bcd"))


def test_it_can_be_switched_off() -> None:
    kept = cache(seconds=0)
    kept.put("a", answer(), kept.epoch)

    assert kept.get("a") is None
