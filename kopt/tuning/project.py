"""The directory of a search: written so that no file is ever half there, and never mixed with another search's."""

import contextlib
import errno
import functools
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kopt._core import checks

if TYPE_CHECKING:  # Whoever only reads a project does without Keras.
    import keras_tuner

FORMAT = 1
RECORD = "project.json"
ON_EXISTING = ("error", "resume", "overwrite")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAMPLED_ROWS = 64
# Parts of the record that are empty until `search` is called; what an older version has not written is not compared.
LEARNT_BY_SEARCH = ("data", "conditions")


def write_json(path: Path, content: Any) -> None:
    """Writes JSON to `path`: whoever reads it finds the old file or the new one, also after a crash or a full disk."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(content, file, default=plain)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def read_json(path: Path) -> Any:
    """Returns what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def plain(value: Any) -> Any:
    """Returns what JSON can hold for what it cannot."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def is_full(error: BaseException) -> bool:
    """Returns whether an error says that the disk, the quota or the greatest size of a file has been reached."""
    # HDF5 puts the system's message into its own, and not always its number into the exception.
    texts = [os.strerror(number) for number in _FULL]
    return isinstance(error, OSError) and (error.errno in _FULL or any(text in str(error) for text in texts))


def full_disk(error: BaseException, directory: Path) -> OSError:
    """Returns the error that a search ends with when nothing more can be written."""
    told = " ".join(str(error).split())
    return OSError(
        getattr(error, "errno", None) or errno.ENOSPC,
        f"The disk is full: the search in {str(directory)!r} cannot go on ({told}). The finished trials are all "
        'there. Make room, then run the same script with `on_existing="resume"`: the trial that was '
        "running is run again.",
    )


def write_whole(oracle: "keras_tuner.Oracle") -> None:
    """Lets an oracle write its files by `write_json`, unless its class has a way of its own."""
    import keras_tuner

    made: Any = oracle
    if type(made).save is keras_tuner.Oracle.save:
        made.save = lambda: write_json(Path(made._get_oracle_fname()), made.get_state())
    if type(made)._save_trial is keras_tuner.Oracle._save_trial:
        made._save_trial = lambda trial: write_json(
            Path(made._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state()
        )


def mend(oracle: "keras_tuner.Oracle") -> None:
    """Puts a reloaded oracle in order after a process that ended between two of its files.

    What has ended is not run again, whatever has begun is, and neither is counted twice.
    """
    import keras_tuner

    found: Any = oracle
    ended = {key for key, trial in found.trials.items() if trial.status in ("COMPLETED", "FAILED")}
    for key in sorted(found.trials):
        if key not in found.start_order:
            found.start_order.append(key)
            found._record_values(found.trials[key])  # An oracle that has not heard of it would propose it again.
    found.end_order = list(dict.fromkeys(key for key in found.end_order if key in ended))
    found.end_order += [key for key in found.start_order if key in ended and key not in found.end_order]
    # KerasTuner takes the last of this list first.
    found._retry_queue = [key for key in reversed(found.start_order) if key not in ended]
    if isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        # It saves neither the order of its trials nor which of them have a next one.
        values = {key: trial.hyperparameters.values for key, trial in found.trials.items()}
        for key in sorted(values, key=functools.cmp_to_key(lambda a, b: found._compare(values[a], values[b]))):
            found._ordered_ids.insert(key)
        found._populate_next = list(found.start_order)


def exists(directory: Path) -> bool:
    """Returns whether there is a search in `directory`."""
    files = (RECORD, "oracle.json", "tuner0.json")
    return any((directory / name).exists() for name in files) or any(directory.glob("trial_*/trial.json"))


def prepare(directory: Path, on_existing: str) -> bool:
    """Makes room for a search, and returns whether one that is there already is to go on.

    Raises:
        ValueError: There is a search, and `on_existing` is "error"; or there is none but other files, to be
            overwritten; or it is of another version.
    """
    if not exists(directory):
        if on_existing == "overwrite" and directory.is_dir() and any(directory.iterdir()):
            raise checks.fail(
                "directory", "one that is empty or holds a search: what else is in it is not deleted", str(directory)
            )
        return False
    if on_existing == "error":
        raise ValueError(
            f"There is a search in {str(directory)!r} already. Received: on_existing='error'. Pass "
            'on_existing="resume" to go on with it, on_existing="overwrite" to delete it, or another `project_name`.'
        )
    if on_existing == "overwrite":
        shutil.rmtree(directory)
        return False
    if not (directory / RECORD).exists():
        raise ValueError(
            f"The search in {str(directory)!r} was not made by kopt: whether it is the same as this one cannot be "
            "known. Received: on_existing='resume'. Use another `project_name`."
        )
    version = read_json(directory / RECORD).get("format")
    if version != FORMAT:
        raise ValueError(
            f"The search in {str(directory)!r} is of another version of kopt. Received: format {version}, needed: "
            f"{FORMAT}. Use another `project_name`, or the version that made it."
        )
    return True


def objective_config(objective: Any) -> Any:
    """Returns an objective, or several, as JSON can hold it."""
    parts = getattr(objective, "objectives", None)
    if parts is not None:
        return [objective_config(part) for part in parts]
    return {"name": objective.name, "direction": objective.direction}


def fingerprint(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what tells data sets apart: kind, shape, dtype, and a checksum of some of the rows.

    Args:
        data: By name: arrays, structures of arrays, None (left out), or anything else, of which the class counts.
    """
    import keras

    found = {}
    for name, value in data.items():
        leaves = [] if value is None else keras.tree.flatten(value)
        for number, leaf in enumerate(leaves):
            found[name if len(leaves) == 1 else f"{name}[{number}]"] = _leaf_print(leaf)
    return found


def _leaf_print(leaf: Any) -> str:
    import keras

    if hasattr(leaf, "to_numpy"):  # frames
        leaf = leaf.to_numpy()
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return type(leaf).__name__ if not isinstance(leaf, int | float | str) else repr(leaf)
    array = leaf if isinstance(leaf, np.ndarray) else keras.ops.convert_to_numpy(leaf)
    picked = array
    if array.ndim and len(array):
        picked = array[np.unique(np.linspace(0, len(array) - 1, _SAMPLED_ROWS).astype(int))]
    sample = repr(picked.tolist()).encode() if picked.dtype == object else np.ascontiguousarray(picked).tobytes()
    return f"{array.dtype} {array.shape} {zlib.crc32(sample):08x}"


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns what differs between two descriptions of searches, each as a line."""
    lines = []
    for part in stored:  # Its limits may change: a search goes on to more trials.
        old: Any = stored[part]
        new: Any = now.get(part)
        if part == "space":
            lines += _space_differences(old, new or [])
        elif part in LEARNT_BY_SEARCH:
            both = {**old, **new} if old and new else {}
            name = {"data": "data `", "conditions": "`"}[part]
            lines += [f"{name}{k}`: {old.get(k)}, now {new.get(k)}" for k in both if old.get(k) != new.get(k)]
        elif part != "limits" and old != new:
            lines.append(f"{part}: {old}, now {new}")
    return lines


def _space_differences(old: list[Any], new: list[Any]) -> list[str]:
    def by_name(space: list[Any]) -> dict[str, list[Any]]:
        named: dict[str, list[Any]] = {}
        for entry in space:
            named.setdefault(entry["config"]["name"], []).append(entry)
        return named

    before, after = by_name(old), by_name(new)
    lines = [f"hyperparameter `{name}`: is new" for name in after if name not in before]
    for name, entries in before.items():
        if name not in after:
            lines.append(f"hyperparameter `{name}`: is gone")
        elif entries != after[name]:
            lines.append(f"hyperparameter `{name}`: {entries}, now {after[name]}")
    return lines


def check_same(stored: Mapping[str, Any], now: Mapping[str, Any], directory: Path) -> None:
    """Raises a ValueError that names what differs between a stored search and this one."""
    lines = differences(stored, now)
    if lines:
        raise ValueError(
            f"The search in {str(directory)!r} is another one, and trials of two searches are not mixed. It differs in "
            f"{'; '.join(lines)}. Received: on_existing='resume'. Use another `project_name`, or put back what differs."
        )
