"""Reads event files back: values by tag with TensorBoard's own reader, and the framing of records byte by byte."""

import io
import struct
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import crc32c
import keras
import numpy as np
from PIL import Image

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


def images(directory: Any) -> dict[str, list[tuple[int, list[np.ndarray]]]]:
    """Returns (step, pictures) pairs by tag."""
    found = _accumulated(directory)
    values: dict[str, list[tuple[int, list[np.ndarray]]]] = {}
    for tag in _tensor_tags(found, "images"):
        for event in found.Tensors(tag):
            width, height, *pictures = tensor_util.make_ndarray(event.tensor_proto).tolist()
            decoded = [np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in pictures]
            assert all(picture.shape[:2] == (int(height), int(width)) for picture in decoded)
            values.setdefault(tag, []).append((event.step, decoded))
    return values


def _tensor_tags(found: Any, plugin: str) -> list[str]:
    return [tag for tag in found.Tags()["tensors"] if found.SummaryMetadata(tag).plugin_data.plugin_name == plugin]


def steps(points: list[tuple[int, Any]]) -> list[int]:
    """Returns the steps of (step, value) pairs."""
    return [step for step, _ in points]


def records(path: Path) -> tuple[int, int]:
    """Returns how many whole records a file holds, and how many bytes of one more; fails on a damaged one.

    A record is its length, the length's checksum, the bytes, their checksum.
    """
    data, position, count = path.read_bytes(), 0, 0
    while position + 12 <= len(data):
        head, body = data[position : position + 8], position + 12
        assert data[position + 8 : body] == _masked(head), f"Record {count} of {path.name} has a damaged head."
        end = body + struct.unpack("<Q", head)[0] + 4
        if end > len(data):
            break
        assert data[end - 4 : end] == _masked(data[body : end - 4]), f"Record {count} of {path.name} is damaged."
        position, count = end, count + 1
    return count, len(data) - position


def _masked(data: bytes) -> bytes:
    crc = crc32c.crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
