"""Files of records: .json and .npz for programs, .html for readers."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import ConfigError, NotFound
from saccade.inspection.document import document
from saccade.inspection.page import page
from saccade.inspection.picture import SUFFIXES as PICTURES
from saccade.inspection.record import Inspection
from saccade.storage.folders import disk_error

SUFFIXES = (".html", ".json", ".npz")


def check(path: Path) -> None:
    """Raises UserError for a file name with another ending, or in a folder that does not exist."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: the file's name must end in {', '.join((*SUFFIXES, *PICTURES))}.")
    if not path.absolute().parent.is_dir():
        raise NotFound(f"{path}: there is no folder {path.parent}. Make it, or choose another name.")


def save(records: Sequence[Inspection], path: Path) -> None:
    """Writes records to a file, whose ending names its form; an .npz file holds one record.

    Raises UserError for another ending, and if the file cannot be written.
    """
    check(path)
    suffix = path.suffix.lower()
    if suffix == ".npz" and len(records) != 1:
        raise ConfigError(f"{path}: an .npz file holds one record, not {len(records)}; write .json or .html.")
    try:
        if suffix == ".npz":
            with path.open("wb") as stream:
                arrays: dict[str, Any] = _arrays(records[0])
                np.savez_compressed(stream, **arrays)
        elif suffix == ".json":
            path.write_text(json.dumps(document(records), ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            path.write_text(page(document(records)), encoding="utf-8")
    except OSError as error:
        raise disk_error(path, error) from error


def frame(records: Sequence[Inspection]) -> str:
    """HTML of a frame with the page inside, for notebooks."""
    inner = html.escape(page(document(records)), quote=True)
    return (
        f'<iframe srcdoc="{inner}" sandbox="allow-scripts" style="width:100%;height:720px;border:0" '
        'title="Saccade"></iframe>'
    )


def _arrays(one: Inspection) -> dict[str, np.ndarray]:
    """Full-precision arrays by name: KIND_LAYER for maps, METHOD for attributions, SIDE_pieces, document."""
    arrays = {f"{kept.kind}_{kept.layer}": kept.weights.float().numpy() for kept in one.maps}
    arrays |= {kept.method: kept.values.numpy() for kept in one.attributions}
    arrays |= {f"{side}_pieces": np.array(tokens.pieces) for side, tokens in one.tokens.items()}
    if one.log_probs is not None:
        arrays["log_probs"] = np.array(one.log_probs)
    facts = document([one])
    for kept in facts["records"][0]["maps"]:
        del kept["weights"]
    arrays["document"] = np.array(json.dumps(facts, ensure_ascii=False))
    return arrays
