"""python -m train COMMAND: look through data, train, measure, write weight files."""

import argparse
import sys
from collections.abc import Sequence

from emotion.errors import EmotionError
from train.commands import add_fit, add_sheet, add_sweep, run_fit, run_sweep
from train.files import add_export, add_onnx
from train.measures import (
    add_check,
    add_evaluate,
    add_explain_eval,
    add_quality,
    add_report,
    add_scoreboard,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with one line on stderr where it failed."""
    args = parser().parse_args(argv)
    try:
        run: int = args.run(args)
        return run
    except (EmotionError, ValueError, OSError) as error:
        print("error:", *str(error).split(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        goes_on = args.run in (run_fit, run_sweep)
        how = "; the same command goes on from the last epoch" if goes_on else ""
        print(f"stopped{how}", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(prog="python -m train", description="Train, measure, export.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        *(add_check, add_sheet, add_fit, add_sweep),
        *(add_evaluate, add_report, add_quality, add_explain_eval, add_scoreboard),
        *(add_export, add_onnx),
    ):
        add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
