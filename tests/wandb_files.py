"""Reads the file of an offline W&B run back: LevelDB's log format with one protobuf message per record."""

import json
import struct
import time
from pathlib import Path
from typing import Any

BLOCK, FRAME = 32768, 7


def records(path: Path) -> list[bytes]:
    """Returns the records of a file, put together from their fragments."""
    data, found, parts, place = path.read_bytes(), [], b"", FRAME
    assert data[:4] == b":W&B"
    while place + FRAME <= len(data):
        if BLOCK - place % BLOCK < FRAME:
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + FRAME : place + FRAME + length]
        place += FRAME + length
        if kind in (1, 4):  # The whole record, or its last fragment.
            found.append(parts)
            parts = b""
    return found


def complete(path: Path) -> list[Any]:
    """Returns the messages of a file, once W&B's other process has written the last one."""
    from wandb.proto import wandb_internal_pb2

    for _ in range(200):
        found = [wandb_internal_pb2.Record.FromString(data) for data in records(path)]
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{path} has no end.")


def nested(items: Any) -> dict[str, Any]:
    """Returns W&B's items, whose keys are paths, as dicts in dicts."""
    found: dict[str, Any] = {}
    for item in items:
        *path, last = item.nested_key or [item.key]
        inner = found
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)
    return found


def run(directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, str]]:
    """Returns the only offline run below a directory: what was logged, the configuration, and each tag's x-axis."""
    [path] = directory.glob("wandb/offline-run-*/*.wandb")
    logged, config, axes = [], {}, {}
    for record in complete(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = nested(record.history.item)
            logged.append({tag: value for tag, value in items.items() if not tag.startswith("_")})
        elif kind in ("config", "run"):
            updates = record.config.update if kind == "config" else record.run.config.update
            config |= nested(updates)
        elif kind == "metric":
            axes[record.metric.name] = record.metric.step_metric
    return logged, config, axes
