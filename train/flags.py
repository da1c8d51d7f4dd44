"""Flags that commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from train.datasets import SPLITS

Runner = Callable[[argparse.Namespace], int]


def add_command(commands: Any, name: str, run: Runner, text: str) -> argparse.ArgumentParser:
    """Add one command that reads a data folder."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=text)
    command.set_defaults(run=run, usage_error=command.error)
    command.add_argument("--data", type=Path, required=True, help="folder of faces, see README")
    return command


def add_weights(command: argparse.ArgumentParser) -> None:
    """Add what says which model."""
    command.add_argument("--weights", required=True, help="a .safetensors file, or a model's name")


def add_split(command: argparse.ArgumentParser, default: str = "test") -> None:
    """Add what says which faces."""
    command.add_argument("--split", choices=SPLITS, default=default, help=f"default {default}")


def add_device(command: argparse.ArgumentParser) -> None:
    """Add what says where to compute."""
    command.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best)")


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add what says where to compute, and how much of it to take."""
    add_device(command)
    command.add_argument("--threads", type=positive, default=None, help="CPU threads")


def use_threads(args: argparse.Namespace) -> None:
    """Take as many threads as :func:`add_machine`'s flag says."""
    if args.threads:
        torch.set_num_threads(args.threads)


def positive(text: str) -> int:
    """Parse a number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return int(text)
