"""Compare all kinds of models, stage by stage; each stage picks up where it stopped.

python -m benchmarks.systems                                       everything
python -m benchmarks.systems layers report                         these stages only
python -m benchmarks.systems train --systems recurrent --seeds 2   one run
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.common import ROOT, machine
from benchmarks.systems import layers
from benchmarks.systems.catalogue import MAIN, SYSTEMS, experiment, run_name
from benchmarks.systems.report import write_report
from benchmarks.systems.runs import is_finished, train
from benchmarks.systems.scores import RESULT, Result, read_result, score
from benchmarks.systems.speed import compare
from saccade.errors import Interrupted, UserError


def measure_layers(options: argparse.Namespace) -> None:
    layers.measure(options.runs / "layers.json", threads=options.threads, runs=options.repeats)


def train_all(options: argparse.Namespace) -> None:
    for seed in options.seeds:
        for system in options.systems:
            plan = experiment(options.config, system, seed=seed, overrides=options.set)
            print(f"== {SYSTEMS[system].title}, seed {seed}", flush=True)
            train(options.runs / run_name(system, seed), plan)


def score_all(options: argparse.Namespace) -> None:
    for system in options.systems:
        for seed in options.seeds:
            run = options.runs / run_name(system, seed)
            if is_finished(run):
                result = score(run)
                print(f"{run}: BLEU {result.bleu:.2f}, lower-cased {result.bleu_lower:.2f}", flush=True)
            else:
                print(f"{run}: not finished, so not scored")


def time_all(options: argparse.Namespace) -> None:
    runs = {system: options.runs / run_name(system, options.seeds[0]) for system in options.systems}
    ready = {system: run for system, run in runs.items() if is_finished(run)}
    compare(ready, options.runs / "speed.json", threads=options.threads, repeats=options.repeats)


def extrapolate(options: argparse.Namespace) -> None:
    script, out = ROOT / "benchmarks" / "extrapolation.py", options.runs / "extrapolation"
    command = [sys.executable, str(script), "--out", str(out), "--threads", str(options.threads)]
    if subprocess.run([*command, *options.extrapolation.split()], check=False).returncode:
        raise UserError("the extrapolation stage did not finish; see above.")


def report(options: argparse.Namespace) -> None:
    results: dict[str, list[Result]] = {}
    for system in SYSTEMS:  # whatever is there, in the order of the catalogue
        done = sorted(options.runs.glob(f"{run_name(system, '*')}/{RESULT}"))
        if done:
            results[system] = [read_result(path.parent) for path in done]
    write_report(options.runs, results, docs=options.docs)
    print(options.docs / "systems.md")


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "layers": measure_layers,
    "train": train_all,
    "score": score_all,
    "speed": time_all,
    "extrapolation": extrapolate,
    "report": report,
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.systems",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; all unless named"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/systems"), help="folder of runs and results")
    parser.add_argument("--config", type=Path, default=ROOT / "examples" / "systems-cpu.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the config")
    parser.add_argument("--systems", nargs="+", default=MAIN, choices=SYSTEMS, metavar="SYSTEM")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="repetitions of what is timed")
    parser.add_argument(
        "--extrapolation", default="", metavar="OPTIONS", help="for benchmarks/extrapolation.py"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where systems.md is written")
    return parser


def main() -> int:
    """Exit code 2 for what the user can repair, 130 when interrupted and saved."""
    parser = arguments()
    options = parser.parse_args()
    if unknown := [stage for stage in options.stages if stage not in STAGES]:
        parser.error(f"no such stage: {', '.join(unknown)}; the stages are {', '.join(STAGES)}")
    torch.set_num_threads(options.threads)
    options.runs.mkdir(parents=True, exist_ok=True)
    if not (options.runs / "machine.json").is_file():
        (options.runs / "machine.json").write_text(json.dumps(machine()), encoding="utf-8")
    try:
        for stage in options.stages or STAGES:
            STAGES[stage](options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stopped:
        print(stopped or "Interrupted.", "\nThe same command goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
