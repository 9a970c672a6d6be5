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
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata
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


def texts(directory: Any) -> dict[str, list[tuple[int, str]]]:
    """Returns (step, text) pairs by tag."""
    found = _accumulated(directory)
    return {
        tag: [(event.step, _strings(event)[0].decode()) for event in found.Tensors(tag)]
        for tag in _tensor_tags(found, "text")
    }


def layouts(directory: Any) -> list[dict[str, dict[str, list[str]]]]:
    """Returns the custom-scalar layouts, each as category -> chart -> patterns of tags."""
    found = _accumulated(directory)
    made = []
    for tag in _tensor_tags(found, "custom_scalars"):
        for event in found.Tensors(tag):
            layout = layout_pb2.Layout.FromString(_strings(event)[0])
            charts = {
                of.title: {chart.title: list(chart.multiline.tag) for chart in of.chart} for of in layout.category
            }
            made.append(charts)
    return made


class HParams(NamedTuple):
    """A session as TensorBoard's HParams page reads it; `metrics` are (group, tag) pairs."""

    values: dict[str, Any]
    columns: dict[str, str]
    metrics: list[tuple[str, str]]
    status: str | None


def hparams(directory: Any) -> HParams:
    """Returns the session of a run's directory."""
    found = _accumulated(directory)
    contents = found.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    columns, metrics, status = {}, [], None
    if metadata.EXPERIMENT_TAG in contents:
        experiment = metadata.parse_experiment_plugin_data(contents[metadata.EXPERIMENT_TAG])
        columns = {info.name: api_pb2.DataType.Name(info.type) for info in experiment.hparam_infos}
        metrics = [(info.name.group, info.name.tag) for info in experiment.metric_infos]
    if metadata.SESSION_END_INFO_TAG in contents:
        end = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG])
        status = api_pb2.Status.Name(end.status)
    return HParams(values, columns, metrics, status)


def _strings(event: Any) -> list[bytes]:
    return np.ravel(tensor_util.make_ndarray(event.tensor_proto)).tolist()
