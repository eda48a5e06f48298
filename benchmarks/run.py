"""Run every benchmark, one after the other, and keep the rows in results/DATE.jsonl."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("training", "translation", "startup")


def main() -> int:
    """Options are handed on to each script."""
    out = HERE / "results" / f"{datetime.now(UTC).date().isoformat()}.jsonl"
    codes = [
        subprocess.run(
            [sys.executable, "-m", f"benchmarks.{script}", "--out", str(out), *sys.argv[1:]], check=False
        ).returncode
        for script in SCRIPTS
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
