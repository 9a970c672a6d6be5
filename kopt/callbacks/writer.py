"""The one way into event files: what is written as tensorboardX' messages, never into an existing file."""

import contextlib
import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kopt.callbacks.event_file import EventFile, ScalarEvent
from kopt.callbacks.past import EPOCH, Past, Written

_numbers = itertools.count()


@functools.lru_cache(64)
def _scalar_event(tags: tuple[str, ...]) -> ScalarEvent:
    return ScalarEvent(tags)


class EventWriter:
    """Writes one event file in a directory, made at the first event.

    Events reach the disk within a second, so that a killed process leaves a readable file.

    Args:
        directory: Where the file goes.
        current: The writers that are the default, innermost last.
        last_steps: For each tag a step up to which nothing is written, because it is in another file already.
        past: Is told what is in a file that was closed, so that nobody needs to read it.
    """

    def __init__(
        self,
        directory: str,
        current: list["EventWriter"] | None = None,
        last_steps: Mapping[str, int] | None = None,
        past: Past | None = None,
    ) -> None:
        self.directory = directory
        self._current = [] if current is None else current
        self._last_steps = {} if last_steps is None else last_steps
        self._past = past
        self._file: EventFile | None = None
        self._suffix, self._written = "", Written()

    def add(self, values: Sequence[Any], step: int) -> None:
        """Writes summary values (`tensorboardX.proto.summary_pb2.Summary.Value`) as one event."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        if self._last_steps and step <= max(self._last_steps.values()):
            values = [value for value in values if step > self._last_steps.get(value.tag, -1)]
        if values:
            event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
            self._open().add(event.SerializeToString())
            self._written.note(tuple([value.tag for value in values]), step)

    def add_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Writes several scalars as one event."""
        if self._last_steps and step <= max(self._last_steps.values()):
            scalars = {tag: value for tag, value in scalars.items() if step > self._last_steps.get(tag, -1)}
        if not scalars:
            return
        tags = tuple(scalars)
        numbers = list(map(float, scalars.values()))
        try:
            event = _scalar_event(tags)(numbers, step)
        except OverflowError:  # Of 64 bits, and beyond what TensorBoard has: infinite to it.
            with np.errstate(over="ignore"):
                event = _scalar_event(tags)(np.array(numbers, "float32").tolist(), step)
        self._open().add(event)
        self._written.note(tags, step, scalars.get(EPOCH))

    def flush(self) -> None:
        """Writes what there is to the disk; the file's thread does it every half second by itself."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Writes what is left and closes the file; a later event opens another file."""
        if self._file is not None:
            self._file.close()
            self._file = None
            if self._past is not None:
                self._past.remember(self.directory, self._suffix, self._written)

    def _open(self) -> EventFile:
        if self._file is None:
            # Of files that begin in the same second, a suffix with leading zeros keeps the order.
            self._suffix, self._written = f".{os.getpid()}.{next(_numbers):06d}", Written()
            try:
                self._file = EventFile(self.directory, self._suffix)
            except OSError as error:
                raise ValueError(
                    f"`log_dir` must be a directory that can be written. Received: {self.directory!r} ({error})."
                ) from error
        return self._file

    @contextlib.contextmanager
    def as_default(self, step: int | None = None) -> Iterator[None]:
        """Makes this the writer of `Summaries` while the context is open."""
        self._current.append(self)
        try:
            yield
        finally:
            self._current.pop()


def histogram_value(tag: str, edges: Sequence[float], counts: np.ndarray) -> Any:
    """Returns a histogram as a summary value, without the empty buckets at its ends.

    Args:
        tag: Of the histogram.
        edges: One more than there are buckets.
        counts: Elements in each bucket.
    """
    from tensorboardX.proto.summary_pb2 import HistogramProto, Summary

    borders, counts = np.asarray(edges, "float64"), np.asarray(counts, "float64")
    filled = np.flatnonzero(counts)
    kept = slice(filled[0], filled[-1] + 1) if filled.size else slice(0, 1)
    # TensorBoard draws from the first edge to the last: empty ends would squeeze the rest into the middle.
    lower, upper, counts = borders[:-1][kept], borders[1:][kept], counts[kept]
    middles = (lower + upper) / 2
    return Summary.Value(
        tag=tag,
        histo=HistogramProto(
            min=lower[0],
            max=upper[-1],
            num=counts.sum(),
            sum=float((middles * counts).sum()),
            sum_squares=float((middles**2 * counts).sum()),
            bucket_limit=upper.tolist(),
            bucket=counts.tolist(),
        ),
    )


def image_value(tag: str, pictures: np.ndarray) -> Any:
    """Returns pictures as one summary value, in the form of `tf.summary.image`.

    Args:
        tag: Of the pictures.
        pictures: Of shape (number, height, width, channels), from 0 to 1; what is outside is cut off.
    """
    from tensorboardX import summary
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    levels = (np.clip(pictures, 0.0, 1.0) * 255.5).astype("uint8")
    made = [summary.image(tag, picture, dataformats="HWC").value[0].image for picture in levels]
    strings = [str(made[0].width), str(made[0].height)]
    return Summary.Value(
        tag=tag,
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="images")),
        tensor=TensorProto(
            dtype="DT_STRING",
            tensor_shape={"dim": [{"size": len(strings) + len(made)}]},
            string_val=[*(text.encode() for text in strings), *(image.encoded_image_string for image in made)],
        ),
    )


def text_value(tag: str, markdown: str) -> Any:
    """Returns a text in Markdown as a summary value."""
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    return Summary.Value(
        tag=tag,
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
        tensor=TensorProto(dtype="DT_STRING", tensor_shape={"dim": [{"size": 1}]}, string_val=[markdown.encode()]),
    )


class Summaries:
    """The part of `tf.summary` that `keras.callbacks.TensorBoard` calls, without TensorFlow.

    Each callback has its own, so that none writes into another's file, as happens with the default of `tf.summary`.

    Args:
        last_steps: For each directory and tag a step up to which nothing is written.
        past: Is told what is in a file that was closed.
    """

    def __init__(self, last_steps: dict[str, dict[str, int]] | None = None, past: Past | None = None) -> None:
        self._last_steps = {} if last_steps is None else last_steps
        self._past = past
        self._current: list[EventWriter] = []
        self._conditions: list[Callable[[], bool]] = []

    def create_file_writer(self, directory: str) -> EventWriter:
        return EventWriter(directory, self._current, self._last_steps.setdefault(directory, {}), self._past)

    @contextlib.contextmanager
    def record_if(self, condition: Callable[[], bool]) -> Iterator[None]:
        self._conditions.append(condition)
        try:
            yield
        finally:
            self._conditions.pop()

    def _target(self) -> EventWriter | None:
        if not self._current or (self._conditions and not self._conditions[-1]()):
            return None
        return self._current[-1]

    def scalar(self, name: str, value: Any, step: Any) -> None:
        writer = self._target()
        if writer is not None:
            writer.add_scalars({name: _host(value)}, int(_host(step)))

    def histogram(self, name: str, data: Any, step: Any) -> None:
        writer = self._target()
        if writer is not None:
            values = np.asarray(_host(data), "float64").ravel()
            finite = values[np.isfinite(values)]
            counts, edges = np.histogram(finite, bins=30) if finite.size else (np.zeros(1), np.zeros(2))
            writer.add([histogram_value(name, edges.tolist(), counts)], int(_host(step)))

    def image(self, name: str, data: Any, step: Any) -> None:
        writer = self._target()
        if writer is not None:
            writer.add([image_value(name, np.asarray(_host(data))[:3])], int(_host(step)))

    def trace_on(self, **options: Any) -> None:
        """Does nothing: Keras 3 offers no graph to trace; its profiler writes its own files."""

    def trace_export(self, **options: Any) -> None:
        """Does nothing, as `trace_on`."""


def _host(value: Any) -> Any:
    return keras.ops.convert_to_numpy(value)
