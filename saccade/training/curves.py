"""Curves for TensorBoard, if it is installed."""

import os
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from saccade.errors import DamagedFile
from saccade.storage.files import write_whole
from saccade.storage.folders import disk_error


class Curves:
    """An event file of TensorBoard, to which each value is written at once.

    TensorBoard's own writer has a thread, in which a full disk is a traceback. Raises StorageError if the
    file cannot be written, and DamagedFile if something else is in the folder's place: a link might lead out
    of the run.

    Args:
        folder: gets one more event file, whose values replace those of older files after `step`.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event: Any = Event
        self._summary: Any = Summary
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise DamagedFile(f"{folder}: not a folder, so no curves can be written to it. Move it away.")
        # TensorBoard sorts the files of a folder by name, and reads those whose name contains "tfevents".
        moment = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"
        self.path = folder / f"events.out.tfevents.{moment}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb", buffering=0)
        except OSError as error:
            raise disk_error(self.path, error) from error
        self._records: Any = RecordWriter(self)
        self._record(step=step + 1, file_version="brain.Event:2")
        self._record(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, name: str, value: float, step: int) -> None:
        """Adds a point to a curve."""
        summary = self._summary(value=[self._summary.Value(tag=name, simple_value=float(value))])
        self._record(step=step, summary=summary)

    def write(self, record: bytes) -> None:
        """Writes a record of TensorBoard's."""
        write_whole(self._file, record)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _record(self, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        try:
            self._records.write(event.SerializeToString())
        except OSError as error:
            self.close()
            raise disk_error(self.path, error) from error


def curves(folder: Path, *, step: int) -> Curves | None:
    """The curves of a run, as `Curves`; None if TensorBoard is not installed."""
    if "tensorboard" not in sys.modules and find_spec("tensorboard") is None:
        return None
    return Curves(folder, step=step)
