"""Locating a published model: a folder on this machine, or a download by its hub name."""

import re
from pathlib import Path

from saccade.distribution import missing
from saccade.errors import NotFound
from saccade.storage.caches import place_others

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Python files are never run: they show that a model is not what its config.json says.
_FILES = ("*.json", "*.safetensors", "*.spm", "*.model", "pytorch_model*.bin", "*.py")


def located(name: str) -> Path:
    """The folder `name` or, if it does not exist, the model of that name from the hub.

    Raises UserError if it is neither, if huggingface_hub is not installed, or if the hub cannot be reached.
    """
    folder = Path(name)
    if folder.exists() or not _NAME.fullmatch(name):
        if not folder.exists():
            raise NotFound(f"{name}: no such folder. Give a model's folder, or its hub name (owner/model).")
        return folder
    place_others()
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise missing(f"{name}: no such folder. To fetch a model of that name from the hub", "hub") from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except Exception as error:  # the errors of the HTTP clients have no common class
        reason = str(error).strip().partition("\n")[0]
        raise NotFound(
            f"{name}: no such folder, and no model of that name could be fetched from the hub ({reason}). "
            "Check the name and the network connection, or download the folder by other means."
        ) from error
