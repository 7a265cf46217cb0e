"""Answers are kept for a moment, within a bound, and can all be forgotten at once."""

from prometheus_client import Counter

from gateway.response_cache.byte_cache import OVERHEAD_BYTES, Answer, ByteCache, size_of

SERVED = Counter("test_served", "Answers of this test.", registry=None)


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def answer(size: int = 10) -> Answer:
    return Answer([], b"x" * size, b'"e"', SERVED)


def cache(seconds: float = 1, answers: int = 10, clock: Clock | None = None) -> ByteCache:
    return ByteCache(seconds, answers * size_of(("a",), answer()), clock or Clock())


def test_keys_headers_bodies_and_validators_are_counted() -> None:
    kept = ByteCache(1, 10**6, Clock())
    kept.put(("a" * 1000, b"b" * 2000), Answer([(b"c" * 3000, b"d" * 4000)], b"e" * 5000, b"f" * 6000, SERVED), 0)

    assert 21_000 < kept.size < 25_000
    kept.clear()
    assert kept.size == len(kept) == 0


def test_an_answer_whose_time_is_over_takes_no_memory() -> None:
    clock = Clock()
    kept = cache(clock=clock)
    kept.put(("a",), answer(), kept.epoch)
    clock.now += 0.5
    kept.put(("b",), answer(), kept.epoch)
    clock.now += 0.5
    kept.get(("c",))
    assert (len(kept), kept.size) == (1, size_of(("b",), answer()))

    clock.now += 0.5
    kept.put(("c",), answer(), kept.epoch)
    assert (len(kept), kept.size) == (1, size_of(("c",), answer()))


def test_an_answer_that_is_put_again_is_counted_once() -> None:
    kept = cache()
    for _ in range(3):
        kept.put(("a",), answer(), kept.epoch)

    assert kept.size == size_of(("a",), answer())


def test_an_answer_is_given_until_its_time_is_over() -> None:
    clock = Clock()
    kept, given = cache(clock=clock), answer()
    kept.put(("a",), given, kept.epoch)

    assert kept.get(("a",)) is given
    assert kept.get(("b",)) is None
    clock.now += 0.99
    assert kept.get(("a",)) is given
    clock.now += 0.01
    assert kept.get(("a",)) is None


def test_clearing_forgets_everything_and_what_was_on_its_way() -> None:
    kept = cache()
    kept.put(("a",), answer(), kept.epoch)
    begun = kept.epoch
    kept.clear()
    kept.put(("b",), answer(), begun)

    assert kept.get(("a",)) is kept.get(("b",)) is None
    kept.put(("c",), answer(), kept.epoch)
    assert kept.get(("c",))


def test_the_oldest_answers_make_room() -> None:
    kept = cache(answers=3)
    for key in "abacd":
        kept.put((key,), answer(), kept.epoch)

    assert [key for key in "abcd" if kept.get((key,))] == ["a", "c", "d"]


def test_an_answer_beyond_the_bound_is_not_kept_and_costs_the_others_nothing_for_long() -> None:
    kept = cache(answers=3)
    kept.put(("a",), answer(10 * OVERHEAD_BYTES), kept.epoch)
    assert kept.get(("a",)) is None

    for key in "bcd":
        kept.put((key,), answer(), kept.epoch)
    assert all(kept.get((key,)) for key in "bcd")


def test_it_can_be_switched_off() -> None:
    kept = cache(seconds=0)
    kept.put(("a",), answer(), kept.epoch)

    assert kept.get(("a",)) is None
