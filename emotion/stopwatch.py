"""How long the stages of one piece of work take."""

import time


class Stopwatch:
    """Measures one stage after the other.

    Attributes:
        stages: milliseconds by the name of a stage, in order; a name used twice adds up.
    """

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()
        self.stages: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage: all the time since the last one."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + 1e3 * (now - self.last)
        self.last = now

    def total(self) -> float:
        """Return the milliseconds since the start."""
        return 1e3 * (time.perf_counter() - self.began)
