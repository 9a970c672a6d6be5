"""Cross-validation: which rows each fold trains on, and the data that belong to them."""

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kopt._core import checks

Split = tuple[np.ndarray, np.ndarray]


def checked_cv(cv: Any) -> Any:
    """Returns `cv`: None, a number of folds, or a scikit-learn splitter."""
    if cv is None:
        return None
    rule = "None, a number of folds >= 2, or a scikit-learn splitter"
    advice = f"Call it: {cv.__name__}(...)." if isinstance(cv, type) else "Such as sklearn.model_selection.KFold(5)."
    if isinstance(cv, int) and not isinstance(cv, bool):
        return checks.count("cv", cv, 2, "One fold has nothing to train on.")
    if isinstance(cv, type) or not (hasattr(cv, "split") and hasattr(cv, "get_n_splits")):
        raise checks.fail("cv", rule, cv, advice)
    return cv


def describe(cv: Any) -> str:
    """Returns what tells one way to split from another."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(cv))


def class_labels(y: Any) -> np.ndarray | None:
    """Returns the class of each row, or None if `y` does not look like classes.

    Classes are strings or booleans, the numbers 0, 1, ... k - 1 (each of them occurs), -1 and 1, or one-hot rows.
    """
    if keras.tree.is_nested(y):
        return None
    labels = np.asarray(y if hasattr(y, "iloc") else as_array(y))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "OUSbiuf":
        return None
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        is_one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        return labels.argmax(axis=1) if is_one_hot else None
    if labels.ndim != 1 or not len(labels):
        return None
    if labels.dtype.kind in "OUSb":
        return labels
    values = np.unique(labels)
    is_numbered = len(values) > 1 and np.array_equal(values, np.arange(len(values)))
    return labels if is_numbered or np.array_equal(values, (-1, 1)) else None


def split(cv: Any, x: Any, y: Any, groups: Any, seed: int) -> list[Split]:
    """Returns the rows to train on and the rows to validate with, for each fold.

    A number of folds shuffles, and is stratified if `y` looks like classes, grouped if there are groups.

    Args:
        cv: As checked by `checked_cv`, not None.
        x: Arrays or a structure of arrays, all of the same length.
        y: Likewise, or None.
        groups: Of each row, or None.
        seed: Of the shuffling, if `cv` is a number.

    Raises:
        ValueError: More folds than rows, groups, or members of a class; data that have no rows; or what the splitter
            says itself.
    """
    count = rows_of({"x": x} | ({} if y is None else {"y": y}) | ({} if groups is None else {"groups": groups}))
    labels = None if y is None else class_labels(y)
    splitter = _splitter(cv, labels, groups, seed) if isinstance(cv, int) else cv
    _check_size(splitter, labels, groups, count)
    plain = None if y is None or keras.tree.is_nested(y) else as_array(y)
    target = labels if labels is not None else plain
    try:
        splits, again = ([*splitter.split(np.zeros((count, 1)), target, groups)] for _ in range(2))
    except (ValueError, TypeError) as error:
        raise ValueError(f"`cv` cannot split {count} rows: {error} Received: cv={cv!r}.") from error
    if not splits or any(not len(part) for pair in splits for part in pair):
        raise checks.fail("cv", "a splitter whose folds all have rows to train on and rows to validate with", cv)
    if any(
        not np.array_equal(a, b)
        for one, other in zip(splits, again, strict=True)
        for a, b in zip(one, other, strict=True)
    ):
        rule = "a splitter that gives the same folds each time: trials are compared on them"
        raise checks.fail("cv", rule, cv, "Give it a `random_state`.")
    return splits


def _splitter(folds: int, labels: np.ndarray | None, groups: Any, seed: int) -> Any:
    from sklearn import model_selection

    if groups is not None:
        if labels is None:
            return model_selection.GroupKFold(folds)
        return model_selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    kind = model_selection.KFold if labels is None else model_selection.StratifiedKFold
    return kind(folds, shuffle=True, random_state=seed)


def _check_size(splitter: Any, labels: np.ndarray | None, groups: Any, count: int) -> None:
    folds = getattr(splitter, "n_splits", None) or getattr(getattr(splitter, "cv", None), "n_splits", None)
    folds = folds or getattr(splitter, "cvargs", {}).get("n_splits")  # scikit-learn's repeated splitters
    name = type(splitter).__name__
    if not isinstance(folds, int) or "Shuffle" in name:
        return
    if folds > count:
        raise checks.fail("cv", f"at most the number of rows, {count}", folds)
    if "Group" in name and groups is not None and folds > len(np.unique(np.asarray(groups))):
        raise checks.fail("cv", f"at most the number of groups, {len(np.unique(np.asarray(groups)))}", folds)
    if "Stratified" in name and labels is not None:
        values, members = np.unique(labels, return_counts=True)
        if members.min() < folds:
            rarest = values[members.argmin()]
            raise checks.fail(
                "cv", f"at most the number of members of each class (class {rarest} has {members.min()})", folds,
                "Take fewer folds, or sklearn.model_selection.KFold(..., shuffle=True), which does not stratify.",
            )  # fmt: skip


def as_array(leaf: Any) -> np.ndarray:
    """Returns an array of any backend, a frame or a list as a NumPy array."""
    if isinstance(leaf, np.ndarray):
        return leaf
    if hasattr(leaf, "to_numpy"):
        return np.asarray(leaf.to_numpy())
    return np.asarray(leaf) if isinstance(leaf, list | tuple) else keras.ops.convert_to_numpy(leaf)


def rows_of(data: dict[str, Any]) -> int:
    """Returns the number of rows that all arrays in `data` have.

    Raises:
        ValueError: Something is no array, or numbers of rows differ.
    """
    counts = {}
    for name, value in data.items():
        for leaf in keras.tree.flatten(value):
            if not getattr(leaf, "shape", ()) and not hasattr(leaf, "iloc"):
                rule = "arrays, or a structure of arrays, to be split into folds (no generators or data sets)"
                raise checks.fail(name, rule, type(leaf).__name__, "Collect the data in an array first.")
            counts[name] = len(leaf)
            if len(leaf) != next(iter(counts.values())):
                raise ValueError(f"All data must have the same number of rows. Received: {counts}.")
    return next(iter(counts.values()))


def take(data: Any, rows: np.ndarray) -> Any:
    """Returns the rows of an array, or of each array in a structure."""
    return keras.tree.map_structure(
        lambda leaf: leaf.iloc[rows] if hasattr(leaf, "iloc") else as_array(leaf)[rows], data
    )


class Arguments:
    """The arguments of `fit` as the user gave them, positional or by name.

    Args:
        args: Positional ones; the first two are `x` and `y`.
        kwargs: Those by name.
    """

    _NAMES = ("x", "y")

    def __init__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = list(args), dict(kwargs)

    def get(self, name: str) -> Any:
        """Returns an argument, None if it was not given."""
        if name in self._NAMES and len(self.args) > self._NAMES.index(name):
            return self.args[self._NAMES.index(name)]
        return self.kwargs.get(name)

    def replaced(self, **values: Any) -> "Arguments":
        """Returns the arguments with others in place of some; those that are None are left out."""
        made = Arguments(self.args, self.kwargs)
        for name, value in values.items():
            if name in self._NAMES and len(made.args) > self._NAMES.index(name):
                made.args[self._NAMES.index(name)] = value
            elif value is None:
                made.kwargs.pop(name, None)
            else:
                made.kwargs[name] = value
        return made

    def of_fold(self, pair: Split) -> "Arguments":
        """Returns what a fold is trained with: its rows, and the others to validate with."""
        train, test = pair
        given = {name: self.get(name) for name in ("x", "y", "sample_weight") if self.get(name) is not None}
        validation = tuple(take(value, test) for value in given.values())
        return self.replaced(
            **{name: take(value, train) for name, value in given.items()},
            validation_data=validation if len(validation) > 1 else (*validation, None),
        )


def check_arguments(given: Arguments) -> None:
    """Raises a ValueError if `fit` is told to validate with something else than the folds."""
    for name in ("validation_data", "validation_split"):
        if given.get(name) is not None:
            raise checks.fail(name, "left out: `cv` makes the validation data", type(given.get(name)).__name__)
    if given.get("x") is None:
        raise checks.fail("x", "given, to be split into folds", None)
