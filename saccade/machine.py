"""What this machine offers: devices, memory and threads; and refusal of what is beyond them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from saccade.errors import ConfigError, Unsupported

MOST_THREADS = 1024
"""Largest number of threads that can be asked for."""

_SHORTAGE = ("allocate memory", "not enough memory", "out of memory", "could not create a primitive")


def usable_device(name: torch.device | str) -> torch.device:
    """The device of this name; raises UserError if there is none, or if nothing can be computed on it."""
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise ConfigError("device meta: nothing is computed there. Choose cpu or cuda.")
        torch.ones(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(f"device {name}: not usable here: {reason}.") from error
    return device


def default_device() -> torch.device:
    """A GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen_device(name: torch.device | str | None) -> torch.device:
    """The device of this name, or the default one for None; raises UserError as `usable_device` does."""
    return default_device() if name is None else usable_device(name)


def use_threads(count: int) -> None:
    """Sets the number of threads of torch; raises UserError for one that is not from 1 to `MOST_THREADS`."""
    torch.set_num_threads(possible_threads(count))


def possible_threads(count: int) -> int:
    """The number of threads, checked as `use_threads` does."""
    if type(count) is not int or not 1 <= count <= MOST_THREADS:
        raise ConfigError(f"threads = {count!r}: a whole number from 1 to {MOST_THREADS} is possible.")
    return count


def free_memory(device: torch.device) -> int:
    """Number of free bytes on the device, within the limits of a container and of the process."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_free_on_system(), *_free_in_process())


def require_memory(size: float, what: str) -> None:
    """Raises UserError if `size` bytes are more than free memory and swap space. what: what needs them."""
    swap = _number(Path("/proc/meminfo"), r"SwapFree:\s+(\d+)") or 0
    free = min(_free_on_system() + 1024 * swap, *_free_in_process())
    if size > free:
        raise Unsupported(
            f"{what} needs {gigabytes(size)} of memory, and {gigabytes(free)} are free. Use a machine with "
            "more memory, or a smaller model."
        )


@contextmanager
def named_shortage(what: str) -> Iterator[None]:
    """Turns lack of memory within the block into a UserError. what: what was done there, for the message."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise Unsupported(
            f"there is not enough memory for {what}. Use a machine with more memory, or a smaller model."
        ) from error


def is_shortage(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SHORTAGE)


def gigabytes(size: float) -> str:
    """The size in gigabytes as text: 1.5 GB for 1.5e9 bytes."""
    return f"{size / 1e9:,.1f} GB"


def _free_on_system() -> int:
    system = _number(Path("/proc/meminfo"), r"MemAvailable:\s+(\d+)")
    if system is None:  # not Linux: half of the physical memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limit = _number(Path("/sys/fs/cgroup/memory.max"), r"(\d+)")
    used = _number(Path("/sys/fs/cgroup/memory.current"), r"(\d+)")
    return system * 1024 if limit is None or used is None else min(system * 1024, max(limit - used, 0))


def _free_in_process() -> list[int]:
    """The bytes that the process may still ask for, if its address space is limited (`ulimit -v`)."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _number(Path("/proc/self/status"), r"VmSize:\s+(\d+)")
    if limit == resource.RLIM_INFINITY or used is None:
        return [1 << 62]
    return [max(limit - 1024 * used, 0)]


def _number(path: Path, pattern: str) -> int | None:
    try:
        match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return int(match[1]) if match else None
