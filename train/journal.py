"""What a run tells while it goes on: a line per epoch, curves for TensorBoard, the time left."""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from train.checkpoint import writing

Row = dict[str, float]


class Journal:
    """The figures of a run's epochs, in ``history.jsonl`` and, where it is installed, TensorBoard.

    Attributes:
        rows: one per finished epoch, oldest first.
    """

    def __init__(self, folder: Path, finished: int) -> None:
        """Open a run's journal.

        Args:
            finished: epochs that its checkpoint holds; lines of later ones, or a line that was
                cut off, come from a process that was killed before it could save, and go.
        """
        self.path = folder / "history.jsonl"
        self.rows = read_history(self.path, finished)
        with writing(self.path):
            if self.rows:
                lines = (json.dumps(row) + "\n" for row in self.rows)
                self.path.write_text("".join(lines), encoding="utf-8")
            else:
                self.path.unlink(missing_ok=True)
            self.board = open_board(folder / "tensorboard", finished)

    def add(self, row: Row) -> None:
        """Write down the figures of one more epoch.

        Raises:
            WeightsError: the disk takes no more.
        """
        self.rows.append(row)
        with writing(self.path):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self.board:
                for name in row.keys() - {"epoch"}:
                    self.board.add_scalar(name, row[name], int(row["epoch"]))
                self.board.flush()

    def close(self) -> None:
        """Let go of TensorBoard's file; what matters is in the history."""
        if self.board:
            with contextlib.suppress(OSError, RuntimeError):
                self.board.close()

    def best_epoch(self) -> int:
        """Return the first epoch with the best validation accuracy, 0 before the first."""
        best = max((row["validation_accuracy"] for row in self.rows), default=0.0)
        found = (row["epoch"] for row in self.rows if row["validation_accuracy"] == best)
        return int(next(found, 0))


def read_history(path: Path, finished: int) -> list[Row]:
    """Return the whole lines of the first ``finished`` epochs, one each."""
    rows: dict[int, Row] = {}
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
            if 1 <= row["epoch"] <= finished:
                rows[row["epoch"]] = row
        except (ValueError, TypeError, KeyError):
            continue  # cut off
    return [rows[epoch] for epoch in sorted(rows)]


def open_board(folder: Path, finished: int) -> Any:
    """Return a TensorBoard writer that goes on after ``finished`` epochs; None without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("no curves: TensorBoard is not installed (pip install tensorboard)", file=sys.stderr)
        return None
    return SummaryWriter(str(folder), purge_step=finished + 1)


class Clock:
    """Tells how long a run still takes, from how long it took so far."""

    def __init__(self, done: float, total: float) -> None:
        """Start the clock at ``done`` of ``total`` epochs."""
        self.start, self.total, self.began = done, total, time.monotonic()

    def left(self, done: float) -> str:
        """Return the time left at ``done`` epochs, such as ``left 1 h 12 min``."""
        spent = time.monotonic() - self.began
        if done <= self.start:
            return "left ?"
        return f"left {duration(spent / (done - self.start) * (self.total - done))}"


def duration(seconds: float) -> str:
    """Return a time for a reader: ``40 s``, ``12 min``, ``1 h 12 min``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
