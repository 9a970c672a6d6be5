"""Which errors say that memory ran out."""

import re

_SAID = re.compile(
    r"out of memory|OOM|RESOURCE.?EXHAUSTED|(can.?t|cannot|failed to|unable to) allocate|not enough memory", re.I
)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error, of Python or of a backend, says that there was not enough memory."""
    return isinstance(error, MemoryError) or _SAID.search(f"{type(error).__name__}: {error}") is not None
