"""Facts of the arrays that a run learns from: scale, broken values, classes, rows that repeat, features that tell."""

from typing import Any

import numpy as np

_MOST_ROWS, _MOST_FEATURES, _MOST_CLASSES = 20_000, 4096, 1000


def data_facts(x: Any, y: Any = None, validation: Any = None) -> dict[str, Any]:
    """Returns facts of inputs and targets as plain Python.

    Args:
        x: Inputs: an array, or a list, tuple or dict of arrays.
        y: Targets, likewise; None if there are none.
        validation: A pair (x, y) of the data that are held out; None if there are none.

    Returns:
        A dict with `rows`; `inputs` and `targets` (figures by name); `leaks` (features that alone tell the target); and
        `duplicates` (rows of the validation data that are in `x` too).
    """
    inputs, targets = named(x), named(y)
    facts: dict[str, Any] = {
        "rows": len(next(iter(inputs.values()))),
        "inputs": {name: _spread(values) for name, values in inputs.items()},
        "targets": {name: _spread(values) | _classes(values) for name, values in targets.items()},
    }
    if targets:
        facts["leaks"] = _leaks(inputs, targets)
    if validation is not None:
        held = named(validation[0])
        facts["duplicates"] = _duplicates(inputs, held)
    return facts


def named(arrays: Any) -> dict[str, np.ndarray]:
    """Returns arrays by name: keys of a dict, places in a list, `all` for one alone."""
    if arrays is None:
        return {}
    if isinstance(arrays, dict):
        return {str(name): np.asarray(value) for name, value in arrays.items()}
    if isinstance(arrays, list | tuple) and all(hasattr(value, "shape") for value in arrays):
        return {str(place): np.asarray(value) for place, value in enumerate(arrays)}
    return {"all": np.asarray(arrays)}


def _spread(values: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"dtype": str(values.dtype), "shape": list(values.shape[1:])}
    if values.dtype.kind not in "fiub" or not values.size:
        return found
    numbers = values.astype("float64")
    finite = np.isfinite(numbers)
    broken = ~finite.reshape(len(numbers), -1).all(1)
    kept = numbers[finite]
    found |= {
        "nonfinite_rows": int(broken.sum()),
        "first_nonfinite_row": int(np.argmax(broken)) if broken.any() else None,
    }
    if kept.size:
        rms = float(np.sqrt(np.mean(np.square(kept))))
        found |= {"mean": float(kept.mean()), "std": float(kept.std()), "rms": rms}
        found |= {"min": float(kept.min()), "max": float(kept.max())}
    if numbers.ndim > 1 and finite.all():
        features = numbers.reshape(-1, numbers.shape[-1]).std(0)
        varying = features[features > 0]
        found["feature_std_ratio"] = float(varying.max() / varying.min()) if varying.size else 1.0
        # Scaling one feature is enough to make the others small: the largest mean and deviation of a feature.
        found["feature_mean_max"] = float(np.abs(numbers.reshape(-1, numbers.shape[-1]).mean(0)).max())
        found["feature_std_max"] = float(features.max())
    return found


def _classes(values: np.ndarray) -> dict[str, Any]:
    """Returns how often each class occurs, where targets are classes; one-hot rows count as classes."""
    labels = _labels(values)
    if labels is None:
        several = values.ndim == 2 and values.shape[1] > 1 and bool(np.isin(values, (0, 1)).all())
        return {"several": float(values.sum(1).mean())} if several else {}
    classes, counts = np.unique(labels, return_counts=True)
    shares = {str(name): float(n / len(labels)) for name, n in zip(classes.tolist(), counts, strict=True)}
    return {"classes": shares, "rarest": int(counts.min())}


def _labels(values: np.ndarray) -> np.ndarray | None:
    if values.ndim == 2 and values.shape[1] > 1:
        is_one_hot = bool(np.isin(values, (0, 1)).all()) and bool((values.sum(1) == 1).all())
        return values.argmax(1) if is_one_hot else None
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        return None
    flat = values.reshape(-1)
    if flat.dtype.kind not in "iubf" or not np.isfinite(flat.astype("float64")).all() or (flat != np.round(flat)).any():
        return None
    classes = np.unique(flat)
    few = len(classes) <= min(_MOST_CLASSES, max(2, len(flat) // 4))
    # Whole floats may be counts: two values, as of a binary target, are classes all the same.
    return flat.astype("int64") if few and (flat.dtype.kind != "f" or len(classes) == 2) else None


def _leaks(inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Returns features that alone tell a target: a correlation of 1, or for classes, values that never overlap."""
    found = []
    for name, x in inputs.items():
        if x.ndim < 2 or x.dtype.kind not in "fiu":
            continue
        columns = x[:_MOST_ROWS].reshape(min(len(x), _MOST_ROWS), -1)
        if columns.shape[1] > _MOST_FEATURES or len(columns) < 20:
            continue
        columns = columns.astype("float64")
        for output, y in targets.items():
            for place, strength in _telling(columns, y[:_MOST_ROWS]):
                index = np.unravel_index(place, x.shape[1:])
                where = [int(i) for i in index]
                found.append({"input": name, "feature": where, "target": output, "strength": strength})
    return found


def _telling(columns: np.ndarray, y: np.ndarray) -> list[tuple[int, float]]:
    labels = _labels(y)
    if labels is None:
        if y.ndim > 2 or (y.ndim == 2 and y.shape[1] != 1) or y.dtype.kind not in "fiu":
            return []
        target = y.reshape(-1).astype("float64")
        with np.errstate(all="ignore"):
            a, b = columns - columns.mean(0), target - target.mean()
            strength = np.abs(a.T @ b) / np.sqrt((a**2).sum(0) * (b**2).sum())
        return [(int(i), float(strength[i])) for i in np.flatnonzero(strength > 0.9999)]
    classes = np.unique(labels)
    if len(classes) < 2 or min(np.bincount(np.searchsorted(classes, labels))) < 5:
        return []
    return [(i, 1.0) for i in range(columns.shape[1]) if _separates(columns[:, i], labels)]


def _separates(column: np.ndarray, labels: np.ndarray) -> bool:
    """Returns whether values of a feature, put in order, show each class in one piece, with a gap between pieces."""
    order = np.argsort(column, kind="stable")
    sorted_labels, values = labels[order], column[order]
    changes = np.flatnonzero(sorted_labels[1:] != sorted_labels[:-1])
    if len(changes) != len(np.unique(labels)) - 1:
        return False
    gaps = values[changes + 1] - values[changes]
    # A feature made of the target has few values, with wide gaps; one that merely is good has neighbours everywhere.
    within = np.delete(np.diff(values), changes)
    return bool(gaps.min() > 0 and (within.max(initial=0.0) < 0.5 * gaps.min()))


def _duplicates(inputs: dict[str, np.ndarray], held: dict[str, np.ndarray]) -> dict[str, int]:
    if [a.shape[1:] for a in inputs.values()] != [a.shape[1:] for a in held.values()]:
        return {}
    seen, rows = _hashes(list(inputs.values())), _hashes(list(held.values()))
    known = set(seen)
    return {"rows": len(rows), "in_both": sum(row in known for row in rows)}


def _hashes(arrays: list[np.ndarray]) -> list[int]:
    solid = [np.ascontiguousarray(array) for array in arrays]
    return [hash(tuple(array[row].tobytes() for array in solid)) for row in range(len(solid[0]))]
