"""What event files already hold, read back without TensorFlow and without TensorBoard."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from kopt.callbacks import places

EPOCH = "epoch"
"""Tag of the epoch's number at the optimizer step at which it ended: where a run that goes on finds its epoch."""


@dataclass
class Written:
    """What is in event files.

    Attributes:
        spans: For the tags of an event, which most events share with others, its first and its greatest step.
        epochs: (optimizer step, epoch) of each epoch that ended.
    """

    spans: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    epochs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def first(self) -> dict[str, int]:
        """The first step of each tag."""
        found: dict[str, int] = {}
        for tags, (step, _) in self.spans.items():
            found |= {tag: min(step, found.get(tag, step)) for tag in tags}
        return found

    @property
    def last(self) -> dict[str, int]:
        """The greatest step of each tag."""
        found: dict[str, int] = {}
        for tags, (_, step) in self.spans.items():
            found |= {tag: max(step, found.get(tag, step)) for tag in tags}
        return found

    def note(self, tags: tuple[str, ...], step: int, epoch: float | None = None) -> None:
        """Notes the tags of an event, and its epoch if it has one."""
        first, last = self.spans.get(tags, (step, step))
        self.spans[tags] = first, max(step, last)
        if epoch is not None:
            self.epochs.append((step, round(epoch)))

    def __add__(self, other: "Written") -> "Written":
        """What is in both."""
        joint = Written(dict(self.spans), self.epochs + other.epochs)
        for tags, (first, last) in other.spans.items():
            begin, end = joint.spans.get(tags, (first, last))
            joint.spans[tags] = begin, max(end, last)
        return joint


def events(file: BinaryIO) -> Iterator[Any]:
    """Yields the events of a file up to its end, or up to a torn or damaged record, where TensorBoard stops too."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    while len(head := file.read(12)) == 12:
        length, checksum = struct.unpack("<QI", head)
        if masked_crc32c(head[:8]) != checksum:
            return
        body = file.read(length + 4)
        if len(body) < length + 4 or masked_crc32c(body[:-4]) != struct.unpack("<I", body[-4:])[0]:
            return
        yield Event.FromString(body[:-4])


def contents(file: BinaryIO) -> Written:
    """Returns what one event file holds."""
    found = Written()
    for event in events(file):
        if event.summary.value:
            epochs = [value.simple_value for value in event.summary.value if value.tag == EPOCH]
            found.note(tuple([value.tag for value in event.summary.value]), event.step, *epochs)
    return found


def joined(files: Iterable[Written]) -> Written:
    """Returns what the last run in a directory has written, from its files in their order.

    A run that goes on writes no step of a tag twice, so a file that does begins another run.
    """
    run = Written()
    for file in files:
        last = run.last
        # `evaluate` may be called any number of times after one step.
        is_another = any(
            step <= last.get(tag, -1) for tag, step in file.first.items() if not tag.startswith("evaluation_")
        )
        run = file if is_another else run + file
    return run


class Past:
    """Reads back what earlier fits have written into the directories of a run."""

    def __init__(self) -> None:
        self._files: dict[str, list[tuple[str, int]]] = {}
        self._read: dict[tuple[str, int], Written] = {}

    def look(self, directories: Iterable[str]) -> None:
        """Notes which files there are; what is written from now on is not of the past."""
        self._files = {directory: places.event_files(directory) for directory in directories}

    def remember(self, directory: str, name: str, written: Written) -> None:
        """Takes a writer's word for what is in the file that it has closed, of which `name` is the end of the name."""
        for path, size in places.event_files(directory):
            if path.endswith(name):
                self._read[path, size] = written

    def written(self, directory: str) -> Written:
        """Returns what the last run in a directory has written."""
        return joined(self._contents(*file) for file in self._files.get(directory, ()))

    def _contents(self, path: str, size: int) -> Written:
        if (path, size) not in self._read:  # A fit closes its files, and the next one opens others.
            with places.opened(path) as file:
                self._read[path, size] = contents(file)
        return self._read[path, size]
