import pytest

from app.storage.clock import StoreClock

NOW, DAY = 1_800_000_000.0, 86400.0


class Watch:
    """A monotonic clock that goes when it is told to."""

    def __init__(self) -> None:
        self.shows = 5.0

    def __call__(self) -> float:
        return self.shows


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def clock(watch: Watch) -> StoreClock:
    """A clock that two answers have set to NOW."""
    made = StoreClock(watch)
    for _ in range(2):
        answer(made, NOW)
    assert shows(made) == (NOW, NOW)
    return made


def answer(clock: StoreClock, date: float) -> None:
    clock.note(date, clock.ask())


def shows(clock: StoreClock) -> tuple[float, float]:
    return clock.newest, clock.sure


def test_the_first_answer_alone_is_not_sure() -> None:
    clock = StoreClock()
    assert shows(clock) == (0.0, 0.0)
    answer(clock, NOW + 100 * DAY)
    assert shows(clock) == (NOW + 100 * DAY, 0.0)
    answer(clock, NOW)
    answer(clock, NOW + 1)
    assert shows(clock) == (NOW + 1, NOW + 1)


def test_it_goes_on_with_each_answer_and_never_back(clock: StoreClock, watch: Watch) -> None:
    watch.shows += DAY
    answer(clock, NOW + DAY)
    assert shows(clock) == (NOW + DAY, NOW + DAY)
    answer(clock, NOW)
    assert shows(clock) == (NOW + DAY, NOW + DAY)


def test_one_wrong_date_is_never_sure_and_gone_with_the_next_answer(clock: StoreClock) -> None:
    answer(clock, NOW + 100 * DAY)
    assert shows(clock) == (NOW + 100 * DAY, NOW)
    answer(clock, NOW + 2)
    assert shows(clock) == (NOW + 2, NOW + 2)


def test_after_a_suspend_the_first_answer_counts_at_once_and_the_second_makes_it_sure(clock: StoreClock) -> None:
    answer(clock, NOW + 20 * DAY)
    assert shows(clock) == (NOW + 20 * DAY, NOW)
    answer(clock, NOW + 20 * DAY + 3)
    assert shows(clock) == (NOW + 20 * DAY + 3, NOW + 20 * DAY + 3)


def test_an_answer_from_before_the_suspend_that_is_read_late_takes_nothing_back(clock: StoreClock) -> None:
    late = clock.ask()
    answer(clock, NOW + 20 * DAY)
    clock.note(NOW, late)
    assert shows(clock) == (NOW + 20 * DAY, NOW)


def test_answers_that_were_asked_for_together_do_not_confirm_each_other(clock: StoreClock) -> None:
    one, other = clock.ask(), clock.ask()
    clock.note(NOW + 100 * DAY, one)
    clock.note(NOW + 100 * DAY, other)
    assert clock.sure == NOW
    answer(clock, NOW + 1)
    assert shows(clock) == (NOW + 1, NOW + 1)


def test_two_wrong_dates_that_differ_confirm_nothing(clock: StoreClock) -> None:
    answer(clock, NOW + 100 * DAY)
    answer(clock, NOW + 50 * DAY)
    assert shows(clock) == (NOW + 50 * DAY, NOW)
