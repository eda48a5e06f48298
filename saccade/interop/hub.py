"""A published folder on this machine, or fetched by its hub name."""

import re
from pathlib import Path

from saccade.distribution import missing
from saccade.errors import NotFound

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ("*.json", "*.safetensors", "*.spm", "*.model", "pytorch_model*.bin")


def located(name: str) -> Path:
    """The folder `name`; where there is none, the model of that name from the hub.

    Raises UserError when it is neither, when huggingface_hub is not installed, or the hub can't be reached.
    """
    folder = Path(name)
    if folder.exists() or not _NAME.fullmatch(name):
        if not folder.is_dir():
            raise NotFound(f"{name}: no such folder. Give a model's folder, or its hub name (owner/model).")
        return folder
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise missing(f"{name}: no such folder. To fetch a model of that name from the hub", "hub") from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except Exception as error:  # those of whichever client fetches have no common class
        reason = str(error).strip().partition("\n")[0]
        raise NotFound(
            f"{name}: no such folder, and the hub gave no model of that name ({reason}). "
            "Check the name and the network, or download the folder elsewhere."
        ) from error
