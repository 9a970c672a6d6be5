"""Reads event files back: values by tag with TensorBoard's own reader, and the framing of records byte by byte."""

import struct
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import crc32c
import keras
import numpy as np

if keras.backend.backend() != "tensorflow":
    # TensorBoard's own switch: its reader then does without TensorFlow, which these processes should not load.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

Points = list[tuple[int, float]]


class Histogram(NamedTuple):
    """A histogram as TensorBoard reads it: `limits` are the upper edges of the buckets."""

    num: float
    limits: np.ndarray
    counts: np.ndarray


def files(directory: Any) -> list[Path]:
    """Returns the event files of one directory, in the order in which TensorBoard reads them."""
    return sorted(Path(directory).glob("*tfevents*"))


def _accumulated(directory: Any) -> Any:
    found = event_accumulator.EventAccumulator(
        str(directory), size_guidance=event_accumulator.STORE_EVERYTHING_SIZE_GUIDANCE, purge_orphaned_data=False
    )
    return found.Reload()


def scalars(directory: Any) -> dict[str, Points]:
    """Returns (step, value) pairs by tag, in the order of the files, whether written as numbers or as tensors."""
    found = _accumulated(directory)
    values = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    for tag in _tensor_tags(found, "scalars"):
        values[tag] = [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in found.Tensors(tag)]
    return values


def histograms(directory: Any) -> dict[str, list[tuple[int, Histogram]]]:
    """Returns (step, histogram) pairs by tag, in the order of the files, whether written as such or as tensors."""
    found = _accumulated(directory)
    values: dict[str, list[tuple[int, Histogram]]] = {}
    for tag in found.Tags()["histograms"]:
        for event in found.Histograms(tag):
            h = event.histogram_value
            histogram = Histogram(h.num, np.asarray(h.bucket_limit), np.asarray(h.bucket))
            values.setdefault(tag, []).append((event.step, histogram))
    for tag in _tensor_tags(found, "histograms"):
        for event in found.Tensors(tag):
            _, limits, counts = tensor_util.make_ndarray(event.tensor_proto).T
            values.setdefault(tag, []).append((event.step, Histogram(counts.sum(), limits, counts)))
    return values


def images(directory: Any) -> dict[str, list[int]]:
    """Returns the steps by tag of images, whether written as such or as tensors."""
    found = _accumulated(directory)
    values = {tag: [event.step for event in found.Images(tag)] for tag in found.Tags()["images"]}
    return values | {tag: [e.step for e in found.Tensors(tag)] for tag in _tensor_tags(found, "images")}


def _tensor_tags(found: Any, plugin: str) -> list[str]:
    return [tag for tag in found.Tags()["tensors"] if found.SummaryMetadata(tag).plugin_data.plugin_name == plugin]


def steps(points: list[tuple[int, Any]]) -> list[int]:
    """Returns the steps of (step, value) pairs."""
    return [step for step, _ in points]


def record_count(path: Path) -> int:
    """Returns how many whole records a file holds; fails on a torn or damaged one.

    A record is its length, the length's checksum, the bytes, their checksum.
    """
    data, position, count = path.read_bytes(), 0, 0
    while position < len(data):
        head, body = data[position : position + 8], position + 12
        assert len(data) >= body, f"{path.name} ends inside the head of record {count}."
        (length,) = struct.unpack("<Q", head)
        assert data[position + 8 : body] == _masked(head), f"Record {count} of {path.name} has a damaged head."
        position = body + length + 4
        assert position <= len(data), f"{path.name} ends inside record {count}."
        assert data[body + length : position] == _masked(data[body : body + length]), f"Record {count} is damaged."
        count += 1
    return count


def _masked(data: bytes) -> bytes:
    crc = crc32c.crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
