"""``python -m evals all|dataset|train|calibrate|report``, and what else was asked of the model: see ``--help``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

# Linear algebra picks its kernels by the processor and splits sums by the cores: the same ones everywhere, so that a
# seed gives the same file. Set before numpy is loaded; numpy's own vector code still differs where AVX-512 does.
for _name, _value in (("OPENBLAS_CORETYPE", "Haswell"), ("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1")):
    os.environ.setdefault(_name, _value)


def _fitting(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    telling = commands.add_parser("dataset", help="what the shared outcomes hold, how they are split, their hashes")
    telling.add_argument("--out", type=Path, help="write JSON here")
    whole = commands.add_parser("all", help="dataset, train and report --left-out in one; goes on where it was stopped")
    whole.add_argument("--folder", type=Path, help="write JSON and pictures here, not to evals/results and docs/images")
    training = commands.add_parser("train", help="from the shared outcomes to the artifact that the package ships")
    again = commands.add_parser("calibrate", help="the thresholds alone again, over the networks that train kept")
    for each in (whole, training, again):
        each.add_argument("--seed", type=int, default=0)
        each.add_argument("--out", type=Path, help="write the artifact here instead of into the package")
        each.add_argument("--cache", type=Path, help="keep fits here, not in the system's temporary folder")
    for each in (training, again):
        each.add_argument(
            "--with-calibration", action="store_true", help="fit on the calibration split too, cross-fit the thresholds"
        )
    training.add_argument("--anew", action="store_true", help="read no fit that an earlier run kept")
    choosing = commands.add_parser("select", help="compare recipes by cross-validation outside the test split")
    choosing.add_argument("--seeds", type=int, default=1, help="how often each recipe is fitted, with another seed")
    choosing.add_argument(
        "--learning-curve", action="store_true", help="the chosen recipe on 40, 60, 80 and 100 %% of the data instead"
    )
    choosing.add_argument("--out", type=Path, help="write JSON here")
    comparing = commands.add_parser("ablate", help="other shapes of the model, on seen sources and on left-out ones")
    comparing.add_argument("--seed", type=int, default=0)
    comparing.add_argument("--out", type=Path, help="write JSON here")


def _judging(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    reporting = commands.add_parser("report", help="judge the shipped artifact on the test split, beside baselines")
    reporting.add_argument("--left-out", action="store_true", help="also fit without each source and judge it there")
    reporting.add_argument("--out", type=Path, help="write JSON here")
    reporting.add_argument("--pictures", type=Path, help="write SVGs into this folder")
    promising = commands.add_parser("promise", help="how often a tolerance is broken: random halves, unseen sources")
    promising.add_argument("--splits", type=int, default=200, help="random halves of the known sources")
    promising.add_argument("--out", type=Path, help="write JSON here")
    promising.add_argument("--picture", type=Path, help="write a picture here, .svg or .png")
    entering = commands.add_parser("newcomer", help="a model left out of training, entered with few graded answers")
    entering.add_argument("--draws", type=int, default=20, help="how often the graded answers are drawn")
    entering.add_argument("--out", type=Path, help="write JSON here")
    drifting = commands.add_parser("drift", help="whether prompts of another kind than the graded ones are noticed")
    drifting.add_argument("--draws", type=int, default=20, help="how often graded and coming prompts are drawn")
    drifting.add_argument("--out", type=Path, help="write JSON here")
    teaching = commands.add_parser("verifier", help="how often chance puts a cascade's verifier in force, and signs do")
    teaching.add_argument("--draws", type=int, default=200, help="how often labels are drawn")
    teaching.add_argument("--out", type=Path, help="write JSON here")
    seeding = commands.add_parser("seeds", help="the judged figures over models that differ by their seed alone")
    seeding.add_argument("--seeds", type=int, default=3)
    seeding.add_argument("--left-out", action="store_true", help="also without each source, fitted for each seed")
    seeding.add_argument("--out", type=Path, help="write JSON here")
    asking = commands.add_parser("machines", help="whether other processors, threads and numpy decide alike")
    asking.add_argument("--python", action="append", default=[], help="another interpreter that has numpy")
    asking.add_argument("--out", type=Path, help="write JSON here")
    trimming_ = commands.add_parser("trimming", help="whether the passages of an answer survive a trimmed input")
    trimming_.add_argument("--out", type=Path, help="write JSON here")
    commands.add_parser("docs", help="fill the tables of docs/quality.md and docs/promise.md from evals/results")


def _fit(given: argparse.Namespace) -> None:
    from evals.kept import cache_folder

    cache = given.cache or cache_folder()
    if given.command == "all":
        from evals.pipeline import everything

        everything(seed=given.seed, artifact=given.out, folder=given.folder, cache=cache)
    elif given.command == "calibrate":
        from evals.pipeline import calibrate

        calibrate(seed=given.seed, out=given.out, is_calibration_fitted=given.with_calibration, cache=cache)
    else:
        from evals.train import ARTIFACT, train

        train(
            seed=given.seed,
            out=given.out or ARTIFACT,
            is_calibration_fitted=given.with_calibration,
            cache=None if given.anew else cache,
        )


def _compare(given: argparse.Namespace) -> None:
    if given.command == "ablate":
        from evals.ablate import ablate

        ablate(out=given.out, seed=given.seed)
    else:
        from evals.select import learning_curve, select

        (learning_curve if given.learning_curve else select)(out=given.out, seeds=given.seeds)


def _judge(given: argparse.Namespace) -> None:
    if given.command == "seeds":
        from evals.seeds import seeds

        seeds(count=given.seeds, is_left_out=given.left_out, out=given.out)
    elif given.command == "machines":
        from evals.machines import machines

        machines(out=given.out, pythons=given.python)
    else:
        from evals.report import report

        report(out=given.out, is_left_out=given.left_out, pictures=given.pictures)


def _promise(given: argparse.Namespace) -> None:
    if given.command == "promise":
        from evals.promise import promise

        promise(splits=given.splits, out=given.out, picture=given.picture)
    elif given.command == "newcomer":
        from evals.newcomer import newcomer

        newcomer(draws=given.draws, out=given.out)
    elif given.command == "drift":
        from evals.drift import drift

        drift(draws=given.draws, out=given.out)
    else:
        from evals.verifier import verifier

        verifier(draws=given.draws, out=given.out)


def _tell(given: argparse.Namespace) -> None:
    if given.command == "dataset":
        from evals.facts import facts

        facts(out=given.out)
    elif given.command == "trimming":
        from evals.trimming import trimming

        trimming(out=given.out)
    else:
        from evals.markdown import write_documents

        write_documents()


RUNS: Final = (
    (_fit, ("all", "train", "calibrate")),
    (_compare, ("select", "ablate")),
    (_judge, ("report", "seeds", "machines")),
    (_promise, ("promise", "newcomer", "drift", "verifier")),
    (_tell, ("dataset", "trimming", "docs")),
)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command and run it; what a command needs is imported when it runs."""
    parser = argparse.ArgumentParser(prog="python -m evals", description="Train and judge the quality model.")
    commands = parser.add_subparsers(dest="command", required=True)
    _fitting(commands)
    _judging(commands)
    given = parser.parse_args(arguments)
    next(run for run, names in RUNS if given.command in names)(given)


if __name__ == "__main__":
    main()
