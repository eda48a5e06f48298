"""Running experiments: what was measured stays on disk, and a second run measures the rest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from saccade.errors import Interrupted
from saccade.lab.experiment import Experiment, Settings
from saccade.lab.results import Result, new_result, read_result, result_file, write_result
from saccade.storage.files import check_writable
from saccade.storage.folders import disk_error

Done = Callable[[Experiment, Result, bool], None]


def run(experiments: Sequence[Experiment], out: Path, settings: Settings, *, again: bool, done: Done) -> None:
    """Measures the experiments and writes each result into `out` as soon as it is there.

    again: measures also what has a result of these settings. done: called with each result and whether it was
    measured now. Raises StorageError, before any work, if the folder cannot be written, and Interrupted after
    a keyboard interrupt; the result that was being measured is then lost, all others stay.
    """
    try:
        result_file(out, "any").parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(out, error) from error
    for experiment in experiments:
        check_writable(result_file(out, experiment.name))
    kept = [None if again else _fitting(out, experiment, settings) for experiment in experiments]
    for number, (experiment, result) in enumerate(zip(experiments, kept, strict=True)):
        if result is not None:
            done(experiment, result, False)
            continue
        try:
            done(experiment, _measured(experiment, out, settings), True)
        except KeyboardInterrupt:
            count = number + sum(one is not None for one in kept[number:])
            raise Interrupted(f"Stopped. {count} of {len(experiments)} experiments have results.") from None


def _fitting(out: Path, experiment: Experiment, settings: Settings) -> Result | None:
    result = read_result(out, experiment.name)
    return result if result is not None and result.fits(settings) else None


def _measured(experiment: Experiment, out: Path, settings: Settings) -> Result:
    started = time.perf_counter()
    say = settings.say
    named = replace(settings, say=lambda line: say(f"{experiment.name}: {line}"))
    figures = experiment.measure(named)
    result = new_result(experiment, figures, settings, seconds=time.perf_counter() - started)
    write_result(out, result)
    return result
