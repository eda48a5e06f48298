"""The command line within this process, for the tests of the lab."""

from __future__ import annotations

from tests.commands.conftest import saccade

__all__ = ["saccade"]
