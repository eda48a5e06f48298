"""Running experiments: what was measured stays on disk, and a second run measures the rest."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from saccade.errors import Interrupted, UserError
from saccade.lab.catalogue import find
from saccade.lab.experiment import Experiment, Settings
from saccade.lab.results import Result, new_result, read_result, result_file, write_result
from saccade.lab.timing import one_thread
from saccade.storage.files import check_writable
from saccade.storage.folders import disk_error

Done = Callable[[Experiment, Result, bool], None]


def run(
    experiments: Sequence[Experiment],
    out: Path,
    settings: Settings,
    *,
    again: bool,
    done: Done,
    processes: int = 1,
) -> None:
    """Measures the experiments and writes each result into `out` as soon as it is there.

    again: measures also what has a result of these settings. done: called with each result and whether it was
    measured now. processes: how many experiments are measured at the same time; if several, experiments have
    to be those of the catalogue, and progress names the one that was finished last.

    Raises StorageError, before any work, if the folder cannot be written, and Interrupted after a keyboard
    interrupt; the results that were being measured are then lost, all others stay.
    """
    try:
        result_file(out, "any").parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(out, error) from error
    for experiment in experiments:
        check_writable(result_file(out, experiment.name))
    missing, count = [], 0
    for experiment in experiments:
        kept = None if again else read_result(out, experiment.name)
        if kept is not None and kept.fits(settings):
            done(experiment, kept, False)
            count += 1
        else:
            missing.append(experiment)
    processes = min(processes, len(missing))
    measured = (
        _one_by_one(missing, out, settings) if processes < 2 else _at_once(missing, out, settings, processes)
    )
    try:
        for experiment, result in measured:
            count += 1
            done(experiment, result, True)
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped. {count} of {len(experiments)} experiments have results.") from None


Measured = Iterator[tuple[Experiment, Result]]


def _one_by_one(experiments: Sequence[Experiment], out: Path, settings: Settings) -> Measured:
    for experiment in experiments:
        yield experiment, _measured(experiment, out, settings)


def _at_once(experiments: Sequence[Experiment], out: Path, settings: Settings, processes: int) -> Measured:
    """Measures in several processes, the longest experiment first, so that all end at about the same time."""
    silent = (settings.small, settings.seeds)  # what can be sent to another process
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_leave_interrupts)
    try:
        waiting: dict[Future[Result], Experiment] = {
            pool.submit(_named, experiment.name, out, *silent): experiment
            for experiment in sorted(experiments, key=lambda one: -one.seconds)
        }
        settings.say(f"{len(waiting)} experiments, {processes} at a time")
        for place, future in enumerate(as_completed(waiting), start=1):
            experiment = waiting[future]
            yield experiment, future.result()
            settings.say(f"{place} of {len(waiting)} measured, the last one {experiment.name}")
    except BrokenProcessPool as error:
        raise UserError(
            "A process of the lab was ended from outside, perhaps for lack of memory. What was measured is "
            "kept. With OMP_NUM_THREADS=1 in the environment, experiments are measured one after the other."
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()


def _leave_interrupts() -> None:
    """Leaves a keyboard interrupt to the process that started this one, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _named(name: str, out: Path, small: bool, seeds: tuple[int, ...]) -> Result:
    [experiment] = find([name])
    return _measured(experiment, out, Settings(small=small, seeds=seeds))


def _measured(experiment: Experiment, out: Path, settings: Settings) -> Result:
    say = settings.say
    named = replace(settings, say=lambda line: say(f"{experiment.name}: {line}"))
    started, cpu_started = time.perf_counter(), time.process_time()
    with one_thread():  # models this small gain nothing by several, and figures do not depend on their number
        figures = experiment.measure(named)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        result = new_result(experiment, figures, settings, seconds=seconds, cpu_seconds=cpu_seconds)
    write_result(out, result)
    return result
