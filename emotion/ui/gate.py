"""Who may use the processor now: as many at a time as there are cores, first come first served."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator


class BusyError(Exception):
    """No turn within the time that the caller would wait."""


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Gate:
    """Lets a few through at a time, in the order of their coming.

    The line is bounded, so that a flood of requests ends in quick refusals and not in a heap of
    waiting threads.

    Args:
        slots: how many may be inside; by default one for each core.
        line: how many may wait.
    """

    def __init__(self, slots: int | None = None, line: int = 24) -> None:
        self.slots = slots or cores()
        self.line = line
        self.inside = 0
        self.waiting: deque[object] = deque()
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def turn(self, patience: float) -> Iterator[None]:
        """Wait for a turn, and hold it for the length of a ``with`` block.

        Args:
            patience: seconds to wait at most.

        Raises:
            BusyError: the line is full, or the turn did not come in time.
        """
        self.enter(patience)
        try:
            yield
        finally:
            with self.changed:
                self.inside -= 1
                self.changed.notify_all()

    def enter(self, patience: float) -> None:
        """Wait for a turn; see :meth:`turn`."""
        ticket, deadline = object(), time.monotonic() + patience
        with self.changed:
            if len(self.waiting) >= self.line:
                raise BusyError
            self.waiting.append(ticket)
            try:
                while self.inside >= self.slots or self.waiting[0] is not ticket:
                    left = deadline - time.monotonic()
                    if left <= 0 or not self.changed.wait(left):
                        if self.inside < self.slots and self.waiting[0] is ticket:
                            break  # it came in the last moment
                        raise BusyError
                self.inside += 1
            finally:
                self.waiting.remove(ticket)
                self.changed.notify_all()
