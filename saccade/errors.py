"""Exceptions that are not bugs: errors in the user's input or configuration, and requests to stop.

UserError         400
  InputError      400   text that cannot be used: unequal files, empty, not UTF-8
  ConfigError     400   a setting that does not exist, has an invalid value, or contradicts another
  NotFound        404   a file, folder, model or language that does not exist
  Conflict        409   a folder that already holds something
  TooLong         413   a line with more pieces than the model reads or writes
  DamagedFile     422   a file that is damaged or has another format
  Unsupported     501   something that this model or this installation cannot do
  StorageError    507   a file or folder that cannot be written
"""

from typing import ClassVar


class UserError(Exception):
    """An error that the user can repair: in a file, a setting or a model folder.

    The message states what is wrong, where, and what to do. The command line prints it without a traceback
    and exits with code 2; in Python it is an ordinary exception. code: an HTTP status for services. topic:
    names advice that an interface may add in its own terms, filled in with `details`; that of the command
    line is in `saccade.commands.hints`.
    """

    code: ClassVar[int] = 400

    def __init__(self, message: str = "", *, topic: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.topic, self.details = topic, details


class InputError(UserError):
    """Text that cannot be used."""


class ConfigError(UserError):
    """A setting that does not exist, has an invalid value, or contradicts another."""


class NotFound(UserError):
    """A file, folder, model or language that does not exist."""

    code = 404


class Conflict(UserError):
    """A folder that already holds something."""

    code = 409


class TooLong(UserError):
    """A line that is longer than the model's limit."""

    code = 413


class DamagedFile(UserError):
    """A file or folder that is damaged, or has a foreign or newer format."""

    code = 422


class Unsupported(UserError):
    """A request that this model or this installation cannot fulfil."""

    code = 501


class StorageError(UserError):
    """A file or folder that cannot be written."""

    code = 507


class Interrupted(Exception):
    """Work that was asked to stop and has saved its state, as the message says; exit code 130."""


class SlowWarning(UserWarning):
    """Something works, but more slowly than it could; the message says why and what helps."""
