"""Copies and pickles of what uses a model: neither copies weights."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self


class Reopened:
    """The base of classes that use a model, which they never change.

    Copies, deep ones as well, share the model. A pickle holds the folder and the arguments that it was opened
    with, and unpickling opens the folder again; so it is small, and can be sent to another process.
    """

    reopen: Callable[[], Any] | None = None
    """Opens the same folder in the same way; None if the model came from memory."""

    def _changed(self, method: str, *arguments: Any, **options: Any) -> Self:
        """A copy whose pickle calls a method with these arguments after opening the folder."""
        other = self.__copy__()
        other.reopen = (
            None if self.reopen is None else partial(_then, self.reopen, method, arguments, options)
        )
        return other

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.reopen is None:
            name = type(self).__name__
            raise TypeError(
                f"this {name} cannot be pickled, because its model came from memory. Save the model to a "
                "folder and open that with saccade.load, here or in the other process."
            )
        return _called, (self.reopen,)


def _then(make: Callable[[], Any], method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return getattr(make(), method)(*arguments, **options)


def _called(make: Callable[[], Any]) -> Any:
    return make()
