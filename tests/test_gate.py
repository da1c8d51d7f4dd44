"""emotion.ui.gate: so many at a time, in order, and a bounded line."""

import threading
import time

import pytest

from emotion.ui.gate import BusyError, Gate, cores


def test_never_more_inside_than_slots_and_nobody_is_lost() -> None:
    gate, inside, most, done = Gate(2, line=50), [], [], []

    def work(number: int) -> None:
        with gate.turn(5):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.005)
            inside.remove(number)
        done.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(30))
    assert max(most) == 2
    assert gate.inside == 0
    assert not gate.waiting


def test_first_come_first_served() -> None:
    gate, order = Gate(1), []

    def work(number: int) -> None:
        with gate.turn(5):
            order.append(number)

    threads = []
    with gate.turn(1):
        for number in range(8):
            thread = threading.Thread(target=work, args=(number,))
            thread.start()
            threads.append(thread)
            while len(gate.waiting) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_patience_ends_and_the_line_goes_on() -> None:
    gate = Gate(1)
    with gate.turn(1):
        began = time.monotonic()
        with pytest.raises(BusyError):
            gate.enter(0.05)
        assert 0.04 < time.monotonic() - began < 1
    with gate.turn(0):
        assert gate.inside == 1


def test_a_full_line_refuses_at_once() -> None:
    gate = Gate(1, line=1)
    with gate.turn(1):
        waiting = threading.Thread(target=lambda: gate.enter(5))
        waiting.start()
        while not gate.waiting:
            time.sleep(0.001)
        began = time.monotonic()
        with pytest.raises(BusyError):
            gate.enter(5)
        assert time.monotonic() - began < 0.5
    waiting.join()
    assert gate.inside == 1  # the one that waited is in


def test_an_error_inside_gives_the_place_back() -> None:
    gate = Gate(1)
    with pytest.raises(RuntimeError), gate.turn(1):
        raise RuntimeError
    assert gate.inside == 0


def test_as_many_slots_as_cores() -> None:
    assert Gate().slots == cores() >= 1
