"""A step that a GPU records once and then replays, without the work of launching each of its kernels."""

from collections.abc import Callable

import torch


class Replay:
    """Calls a function that changes tensors in place; on a CUDA device, records it and replays the record.

    The function may depend on nothing but the tensors, and may not wait for the device.
    """

    def __init__(self, function: Callable[[], None], device: torch.device) -> None:
        self._function, self._device = function, device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def __call__(self) -> None:
        """Runs the function."""
        if self._device.type != "cuda":
            self._function()
        elif not self._warm:
            self._run_beside()
        else:
            if self._graph is None:
                self._graph = self._recorded()
            self._graph.replay()

    def _run_beside(self) -> None:
        """Runs it once on another stream, where libraries make what they may not make while recording."""
        beside, here = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            self._function()
        here.wait_stream(beside)
        self._warm = True

    def _recorded(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._function()
        return graph
