"""saccade doctor: what it prints."""

from __future__ import annotations

from tests.commands.conftest import Run, refused


def test_doctor_tells_versions_extras_and_the_largest_batch(saccade: Run) -> None:
    result = saccade("doctor", "--preset", "big")  # estimated: nothing is computed
    for name in (
        "saccade",
        "python",
        "torch",
        "device",
        "bfloat16",
        "threads",
        "memory",
        "disk",
        "batch",
        "training",
    ):
        assert any(line.startswith(f"{name}:") for line in result.lines)
    assert any(line.startswith("matplotlib:") for line in result.lines)


def test_an_unknown_preset_is_refused(saccade: Run) -> None:
    refused(saccade("doctor", "--preset", "enormous"), "enormous", "tiny, small, base, big")
