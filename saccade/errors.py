"""The one exception that means "your input or configuration", as opposed to a fault of ours."""


class UserError(Exception):
    """Something the user can mend: a file, a setting, a model folder.

    The message says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2; from Python it is an ordinary exception.
    """
