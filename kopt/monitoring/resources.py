"""What a step costs: time, waiting for data, memory."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kopt._backend import adapter_module
from kopt.monitoring.quantity import Kept, Quantity


class Throughput(Quantity):
    """Time of a step, examples per second, and how much of the time the step waited for its data.

    Tags: `throughput/step_ms` (wall clock, the mean since the last look, validation left out),
    `throughput/examples_per_second`, and `throughput/data_wait_fraction`: what passed at the step of the look between
    the end of the step before it and the arrival of its data, other callbacks included, as a share of the mean step.
    The last is not given with TensorFlow under `jit_compile=True`, where the arrival cannot be seen.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self._since: tuple[int, float] | None = None

    def begin_epoch(self, step: int) -> None:
        self._since = (step, time.perf_counter())

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        if kept.taken is None:
            return {}
        since, self._since = self._since, (kept.step, kept.taken)
        if since is None or kept.step <= since[0] or kept.taken <= since[1]:
            return {}
        seconds = (kept.taken - since[1]) / (kept.step - since[0])
        found = {
            "throughput/step_ms": 1e3 * seconds,
            "throughput/examples_per_second": kept.examples * kept.accumulation / seconds,
        }
        if kept.waited is not None:
            found["throughput/data_wait_fraction"] = min(kept.waited / seconds, 1.0)
        return found


class Memory(Quantity):
    """Memory in use after the step, in MiB; at most once a second, as asking takes a while.

    Tags: `memory/device_mb` and `memory/device_peak_mb` where the backend tells (GPUs), `memory/host_mb` of the process
    (Linux).

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self._asked = -math.inf

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        if time.perf_counter() - self._asked < 1.0:
            return {}
        self._asked = time.perf_counter()
        found: dict[str, Any] = {f"memory/{name}_mb": size for name, size in adapter_module.device_memory().items()}
        statistics = Path("/proc/self/statm")
        if statistics.exists():
            import resource

            found["memory/host_mb"] = int(statistics.read_text().split()[1]) * resource.getpagesize()
        return {tag: size / 2**20 for tag, size in found.items()}
