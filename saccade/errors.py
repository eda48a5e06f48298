"""Exceptions that are no fault of ours: the user's input or configuration, or the wish to stop.

UserError         400
  InputError      400   text that cannot be used: unequal files, empty, not UTF-8
  ConfigError     400   a setting that does not exist, has no such value, or contradicts another
  NotFound        404   a file, folder, model or language that does not exist
  Conflict        409   a folder that already holds something
  TooLong         413   a line with more pieces than the model reads or writes
  DamagedFile     422   a file that is not what its name says
  Unsupported     501   something that this model or this installation cannot do
  StorageError    507   a file or folder that cannot be written
"""

from typing import ClassVar


class UserError(Exception):
    """Something that the user can repair: a file, a setting, a model folder.

    The message says what is wrong, where, and what to do. The command line prints it without a traceback and
    exits with code 2; from Python it is an ordinary exception. A service answers with `code`, a status of
    HTTP. topic: names the advice that an interface may add in its own terms, filled in with `details`; the
    command line has its advice in `saccade.commands.hints`.
    """

    code: ClassVar[int] = 400

    def __init__(self, message: str = "", *, topic: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.topic, self.details = topic, details


class InputError(UserError):
    """Text that cannot be used."""


class ConfigError(UserError):
    """A setting that does not exist or is not possible."""


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
    """A file or folder that is damaged, of a foreign format or of a newer one."""

    code = 422


class Unsupported(UserError):
    """Something that this model or this installation cannot do."""

    code = 501


class StorageError(UserError):
    """A file or folder that cannot be written."""

    code = 507


class Interrupted(Exception):
    """Work was asked to stop and has saved what it had; the message says so. Exit code 130."""
