"""The numbers of one step, packed into one vector on the device and named on the host."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops

from kopt.monitoring.buckets import BUCKET_EDGES
from kopt.monitoring.quantity import Numbers


@dataclass
class Layout:
    """Where each number stands in the packed vector; filled while the step is traced.

    One vector means one transfer from the device.

    Attributes:
        tags: Of the numbers, in order.
        histograms: Tags of the histograms whose counts follow, in order.
    """

    tags: list[str] = field(default_factory=list)
    histograms: list[str] = field(default_factory=list)

    def pack(self, numbers: Numbers, counts: Mapping[str, Any]) -> Any:
        """Returns all numbers of a step as one float32 vector, and notes what stands where."""
        single = {tag: value for tag, value in numbers.items() if isinstance(tag, str)}
        several = {tags: value for tags, value in numbers.items() if not isinstance(tags, str) and tags}
        self.tags = [*single, *(tag for tags in several for tag in tags)]
        self.histograms = list(counts)
        parts = [ops.stack([ops.cast(value, "float32") for value in single.values()])] if single else []
        parts += [ops.cast(value, "float32") for value in [*several.values(), *counts.values()]]
        return ops.concatenate(parts) if parts else ops.zeros((0,))

    def unpack(self, vector: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Returns numbers by tag and bucket counts by tag."""
        end = len(self.tags)
        numbers = dict(zip(self.tags, vector[:end].tolist(), strict=True))
        counts = vector[end:].reshape(len(self.histograms), len(BUCKET_EDGES) - 1)
        return numbers, dict(zip(self.histograms, counts, strict=True))
