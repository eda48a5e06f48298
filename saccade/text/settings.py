"""The file tokenizer.json, which holds the kind and the settings of a tokeniser."""

import json
from pathlib import Path
from typing import Any

from saccade.errors import DamagedFile, UserError
from saccade.storage.structured import read_object, reason

SETTINGS_FILE = "tokenizer.json"


def read_settings(folder: Path) -> dict[str, Any]:
    """Reads tokenizer.json; raises UserError if it is missing or damaged."""
    return read_object(folder / SETTINGS_FILE, advice=f"Without it, {folder} holds no tokeniser.")


def write_settings(folder: Path, *, kind: str, config: dict[str, Any]) -> None:
    """Writes tokenizer.json."""
    text = json.dumps({"kind": kind, "config": config}, indent=2) + "\n"
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")


def damaged(folder: Path, error: Exception) -> UserError:
    """The error for a tokeniser that cannot be read, in one line."""
    where = Path(str(error.filename)) if isinstance(error, OSError) and error.filename else folder
    return DamagedFile(f"{where}: the tokeniser is missing or damaged: {reason(error)}.")
