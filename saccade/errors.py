"""Exceptions that are no fault of ours: the user's input or configuration, or the wish to stop."""


class UserError(Exception):
    """Something the user can mend: a file, a setting, a model folder.

    The message says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2; from Python it is an ordinary exception.
    """


class Interrupted(Exception):  # noqa: N818 - not an error
    """Work was asked to stop and has saved what it had; the message says how to go on. Exit code 130."""
