"""The campaigns against faults: python -m tests.fuzz [CAMPAIGN ...] [--seed N] [--minutes M] [--replay CASE]

Each draws its cases from the seed, so that a case that failed can be tried again alone:

    python -m tests.fuzz --replay 1/folders/437
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

# Children are forked, so that torch is imported once; no library may have started threads before.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from saccade.native.library import library
from tests.fuzz.campaign import Campaign, Tally, run, tried
from tests.fuzz.catalogue import CAMPAIGNS


def main() -> int:
    """Runs what the command line asks for; 0 if nothing was wrong and everything was tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split(":")[0])
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=f"of {', '.join(CAMPAIGNS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=20.0, help="for all of them together")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of each")
    parser.add_argument("--workers", type=int, default=2, help="cases at the same time")
    parser.add_argument("--brief", action="store_true", help="fewer models and runs; the cases are others")
    parser.add_argument("--replay", metavar="SEED/CAMPAIGN/NUMBER", help="one case again; its folder is kept")
    given = parser.parse_args()
    library()  # compiled once, and not in each child
    if given.replay:
        return replay(given.replay, brief=given.brief)
    if unknown := set(given.campaigns) - CAMPAIGNS.keys():
        parser.error(f"no campaign {', '.join(sorted(unknown))}; there are {', '.join(CAMPAIGNS)}")
    deadline, tallies = time.monotonic() + 60 * given.minutes, []
    for name in given.campaigns or CAMPAIGNS:
        started, used = time.monotonic(), cpu_seconds()
        with tempfile.TemporaryDirectory(prefix=f"saccade-fuzz-{name}-") as place:
            campaign = CAMPAIGNS[name](given.seed, Path(place), brief=given.brief)
            campaign.prepare()
            count = max(1, round(given.share * campaign.full()))
            tallies.append(run(campaign, count=count, workers=given.workers, deadline=deadline))
        tallies[-1].seconds, tallies[-1].cpu = time.monotonic() - started, cpu_seconds() - used
        print(line(tallies[-1]), flush=True)
    return report(tallies, given.seed)


def replay(which: str, *, brief: bool) -> int:
    """Tries one case again, and says what came of it and where its files are."""
    seed, name, number = which.split("/")
    place = Path(tempfile.mkdtemp(prefix=f"saccade-fuzz-{name}-"))
    campaign: Campaign = CAMPAIGNS[name](int(seed), place, brief=brief)
    campaign.prepare()
    outcome = tried(campaign, int(number))
    print(f"{which}: {outcome.word}\n{outcome.fault or ''}\nfiles: {place}")
    return int(outcome.fault is not None)


def line(tally: Tally) -> str:
    """A campaign's line of the table."""
    words = ", ".join(f"{count:,} {word}" for word, count in sorted(tally.words.items()))
    return (
        f"{tally.name:<10} {tally.done:>7,} of {tally.planned:>7,}  {len(tally.faults):>5} faults  "
        f"{tally.seconds:>6.0f} s  {tally.cpu:>6.0f} s of CPU  {words}"
    )


def cpu_seconds() -> float:
    """Seconds of computing by this process and its children that have ended."""
    return sum(os.times()[:4])


def report(tallies: list[Tally], seed: int) -> int:
    """Prints the table and how to try the failures again."""
    print(f"\nseed {seed}")
    for tally in tallies:
        print(line(tally))
    for tally in tallies:
        for number, fault in sorted(tally.faults.items()):
            print(f"\n--replay {seed}/{tally.name}/{number}\n{fault}")
    cut = [tally.name for tally in tallies if tally.done < tally.planned]
    if cut:
        print(f"\nthe time was over before the end of: {', '.join(cut)}")
    return int(bool(cut) or any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
