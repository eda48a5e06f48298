"""What this machine offers: devices, memory and threads; and refusal of what is beyond them."""

import errno
import functools
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from saccade.errors import ConfigError, Unsupported

MOST_THREADS = 1024
"""Largest number of threads that can be asked for."""

_SIGNS = (
    "DefaultCPUAllocator",
    "not enough memory",
    "out of memory",
    "could not create a primitive",
    "could not create a memory",
    "bad_alloc",
    "cannot allocate memory",
    "unable to allocate",
    "can't start new thread",
    "thread constructor failed",
    "failed to map segment from shared object",
    "unable to mmap",
    "storage size calculation overflowed",
    "numel: integer multiplication overflow",
)
"""Parts of messages that mean lack of memory: torch's allocator on CPUs, oneDNN, threads without room for a
stack, libraries that cannot be mapped, and tensors larger than any memory have no exception type for it."""


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


@functools.cache
def computes_bfloat16() -> bool:
    """Whether this machine's processor multiplies matrices in bfloat16 at least about as fast as in float32.

    Without such instructions, torch takes many times as long.
    """
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - there is no public query


def use_threads(count: int) -> None:
    """Sets the number of threads of torch; raises UserError for one that is not from 1 to `MOST_THREADS`."""
    torch.set_num_threads(possible_threads(count))


def possible_threads(count: int) -> int:
    """The number of threads, checked as `use_threads` does."""
    if type(count) is not int or not 1 <= count <= MOST_THREADS:
        raise ConfigError(f"threads = {count!r}: a whole number from 1 to {MOST_THREADS} is possible.")
    return count


def has_room_for_threads(count: int) -> bool:
    """Whether `count` more threads can be started, which a limit of the address space may prevent.

    A library that starts them nevertheless would abort the process.
    """
    if not _address_space_is_limited():
        return True
    end, started = threading.Event(), list[threading.Thread]()
    try:
        for _ in range(count):
            started.append(threading.Thread(target=end.wait, daemon=True))
            started[-1].start()
    except RuntimeError:
        started.pop()
        return False
    else:
        return True
    finally:
        end.set()
        for thread in started:
            thread.join()


def free_memory(device: torch.device) -> int:
    """Number of free bytes on the device, within the limits of a container and of the process."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_free_on_system(), *_free_in_process())


def total_memory(device: torch.device | str) -> int | None:
    """Number of bytes that this process may use on a device, whether free or not; None if unknown."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.cuda.get_device_properties(kind).total_memory
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on every system
        return None
    limit = _number(Path("/sys/fs/cgroup/memory.max"), r"(\d+)")  # of a container
    return found if limit is None else min(found, limit)


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
        if not lacks_memory(error):
            raise
        raise Unsupported(
            f"there is not enough memory for {what}. Use a machine with more memory, or a smaller model."
        ) from error


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception means lack of memory, by its type or its message."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError | ImportError) and names_shortage(str(error))


def names_shortage(text: str) -> bool:
    """Whether a message means lack of memory."""
    return any(sign.lower() in text.lower() for sign in _SIGNS)


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


def _address_space_is_limited() -> bool:
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


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
