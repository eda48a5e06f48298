"""Settings of all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Time limits per example say more about the machine's other work than about the code.
settings.register_profile("saccade", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("saccade")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked gpu where there is none; torch is only imported when one is selected."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
