"""Times, launches and memory on a card; on a CPU the same calls, for a rehearsal."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

Function = Callable[[], object]
_ROUND = 5e-3  # seconds that a measurement lasts at least


def wait() -> None:
    """Until the card has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def failures(functions: Mapping[str, Function]) -> dict[str, str]:
    """Of functions that raise, the last line of what: one must not cost the others' times."""
    failed = {}
    for name, function in functions.items():
        try:
            function()
            wait()
        except Exception as error:  # whatever a kernel does on a new card
            failed[name] = f"{type(error).__name__}: {str(error).strip()[-200:]}"
    return failed


def seconds(functions: Mapping[str, Function], rounds: int = 5) -> dict[str, float]:
    """Median seconds of a call, over rounds in which each function has its turn."""
    counts = {}
    for name, function in functions.items():
        counts[name] = max(1, min(200, int(_ROUND / max(_timed(function, 1), 1e-7))))
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(_timed(function, counts[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def _timed(function: Function, count: int) -> float:
    wait()
    start = time.perf_counter()
    for _ in range(count):
        function()
    wait()
    return (time.perf_counter() - start) / count


def launches(function: Function) -> int | None:
    """Kernels that a call launches; `None` without a card."""
    if not torch.cuda.is_available():
        return None
    function()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        function()
        wait()
    events = found.events() or []
    return sum("CUDA" in str(event.device_type) for event in events)


def peak_megabytes(function: Function) -> float | None:
    """The most memory that a call takes beyond what was held before; `None` without a card."""
    if not torch.cuda.is_available():
        return None
    function()
    wait()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    wait()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


@dataclass(frozen=True)
class Limits:
    """What the card can do, measured: bytes read and written, and operations, a second."""

    bandwidth: float
    float32: float
    half: float

    @classmethod
    def measured(cls, device: str, size: int) -> "Limits":
        """By a copy, and by products of two square matrices of `size` in float32 and bfloat16."""
        source = torch.empty(8 * size * size, device=device)
        target = torch.empty_like(source)
        a = torch.randn(size, size, device=device)
        b = a.bfloat16()
        out, half = torch.empty_like(a), torch.empty_like(b)
        taken = seconds(
            {
                "copy": lambda: target.copy_(source),
                "float32": lambda: torch.mm(a, a, out=out),
                "bfloat16": lambda: torch.mm(b, b, out=half),
            }
        )
        work = 2.0 * size**3
        moved = 2.0 * source.numel() * 4
        return cls(moved / taken["copy"], work / taken["float32"], work / taken["bfloat16"])


def graphed(function: Callable[[], Tensor]) -> Function:
    """The call as one CUDA graph, captured when first called; the call itself without a card."""
    if not torch.cuda.is_available():
        return function
    graphs: list[torch.cuda.CUDAGraph] = []

    def replay() -> None:
        if not graphs:
            graphs.append(_captured(function))
        graphs[0].replay()

    return replay


def _captured(function: Function) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph
