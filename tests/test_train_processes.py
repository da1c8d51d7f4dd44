"""Training processes as a user runs them: killed with SIGKILL, and several at once."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.shapes import TINY, averaged, flags, history, run_in, shapes, write_shapes
from train.__main__ import main
from train.checkpoint import load_checkpoint
from train.config import FitConfig
from train.datasets import DataError
from train.engine import fit
from train.processes import Processes, joined

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 120
"""Seconds after which a test gives up on a process."""

SLOW_SAVE = (
    "import os, sys, time; os.fsync = lambda fd: time.sleep(600); "
    "from train.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
"""The command line, on a disk so slow that a checkpoint never gets whole."""


def start(*words: str) -> subprocess.Popen[str]:
    """Start a Python process in the project, its output in pipes."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(data: Path, run: Path, config: FitConfig) -> list[str]:
    """The words of ``fit`` for a config."""
    return ["fit", "--data", str(data), "--run-dir", str(run), "--device", "cpu", *flags(config)]


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -9


def same_weights(one: Path, other: Path) -> bool:
    a, b = averaged(one / "last.pt"), averaged(other / "last.pt")
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_kill_in_mid_epoch_and_in_mid_save(tmp_path: Path) -> None:
    """Three processes make one run, two of them killed, and the weights are those of one."""
    data, run = write_shapes(tmp_path / "data", train=64), tmp_path / "run"
    config = replace(TINY, epochs=3)
    words = command(data, run, config)

    process = start("-c", SLOW_SAVE, *words)
    partial, until = run / "last.partial", time.monotonic() + PATIENCE
    while not partial.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    kill(process)  # in its first save
    assert partial.exists()
    assert not (run / "last.pt").exists()

    process = start("-m", "train", *words)
    assert process.stdout is not None
    assert '"epoch": 1' in process.stdout.readline()
    kill(process)  # in its second epoch: the line comes when the first is saved
    assert not partial.exists()
    finished = load_checkpoint(run / "last.pt", torch.device("cpu"))[0]["epoch"]
    assert finished in (1, 2)

    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as those processes have
    try:
        assert main(words) == 0
        assert main(command(data, tmp_path / "whole", config)) == 0
    finally:
        torch.set_num_threads(torch_threads)
    assert [row["epoch"] for row in history(run)] == [1, 2, 3]
    assert same_weights(run, tmp_path / "whole")
    assert sorted(path.name for path in run.iterdir()) == [
        "history.jsonl",
        "last.pt",
        "tensorboard",
    ]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", train=38)
    config = replace(
        TINY,
        architecture="convnext_atto",  # no batch norm, and without dropout nothing else by chance
        drop=0.0,
        batch_size=9,
        fer2013=0.5,
        optimizer="sgd",
        lr=0.02,
        precision="float32",
    )
    assert main(command(data, tmp_path / "one", config)) == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    process = start(*launcher, "train", *command(data, tmp_path / "two", config))
    told, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert told.count('"epoch": 1') == told.count('"epoch": 2') == 1, "only the first one prints"

    one, two = averaged(tmp_path / "one" / "last.pt"), averaged(tmp_path / "two" / "last.pt")
    start_of_both = torch.load(tmp_path / "one" / "last.pt", weights_only=True)["config"]
    assert start_of_both == torch.load(tmp_path / "two" / "last.pt", weights_only=True)["config"]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-6, msg=name)
    losses = [[row["loss"] for row in history(tmp_path / name)] for name in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


# --- one process -------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "count"), [(64, 2), (9, 2), (10, 3), (3, 3)])
def test_parts_make_up_the_batch(size: int, count: int) -> None:
    rows = [i for rank in range(count) for i in range(size)[Processes(rank, count).part(size)]]
    assert rows == list(range(size))
    lengths = [len(range(size)[Processes(rank, count).part(size)]) for rank in range(count)]
    assert max(lengths) - min(lengths) <= 1


def test_one_process_shares_nothing() -> None:
    network, one = torch.nn.Linear(2, 2), Processes()
    assert one.first
    assert one.share(network, torch.device("cpu")) is network
    assert one.mean(0.5) == 0.5
    assert one.agree(True)
    assert not one.agree(False)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with one.own_randomness(3, torch.device("cpu")):
        assert torch.equal(torch.rand(2), expected), "the draws of a run on one process stay"


def test_own_randomness_leaves_the_common_one_as_it_was() -> None:
    drawn = []
    for rank in range(2):
        torch.manual_seed(0)
        with Processes(rank, 2).own_randomness(3, torch.device("cpu")):
            own = torch.rand(5 + rank)[:5]
        drawn.append((own, torch.rand(3)))
    assert not torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(torch.device("cpu")) as (processes, device):
        assert (processes, device) == (Processes(), torch.device("cpu"))
    assert not torch.distributed.is_initialized()


def test_a_process_without_faces_is_refused(tmp_path: Path) -> None:
    run = replace(run_in(tmp_path), processes=Processes(0, 4))
    with pytest.raises(DataError, match="6 faces to train on"):
        fit(run, train=shapes(6), validation=shapes(4))
