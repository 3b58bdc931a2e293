"""``python -m evals train|report``."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Parse the command and run it."""
    parser = argparse.ArgumentParser(prog="python -m evals", description="Train and judge the quality model.")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="from the shared outcomes to the artifact that the package ships")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--out", type=Path, help="write the artifact here instead of into the package")
    reporting = commands.add_parser("report", help="judge the shipped artifact on the test split, beside baselines")
    reporting.add_argument("--out", type=Path, help="write JSON here")
    given = parser.parse_args()
    if given.command == "train":
        from evals.train import ARTIFACT, train

        train(seed=given.seed, out=given.out or ARTIFACT)
    else:
        from evals.report import report

        report(out=given.out)


if __name__ == "__main__":
    main()
