"""How data are split into folds, and which arguments of it cannot be split."""

import keras
import numpy as np
import pytest
import searches
from searches import curve_tuner
from sklearn import model_selection

from kopt.tuning import folds

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trains nothing: the same anywhere")
X = np.arange(24.0).reshape(12, 2)
UNEVEN = np.array([0] * 8 + [1] * 4)


def shares(splits, y):
    return sorted({float(np.mean(y[test])) for _, test in splits})


@pytest.mark.parametrize(
    "y",
    [
        UNEVEN,
        UNEVEN[:, None],
        UNEVEN.astype("float32"),
        np.eye(2)[UNEVEN],
        np.where(UNEVEN, 1, -1),
        np.where(UNEVEN, "yes", "no"),
        UNEVEN.astype(bool),
    ],
    ids=["numbers", "column", "floats", "one-hot", "signs", "words", "booleans"],
)
def test_what_looks_like_classes_is_stratified(y):
    splits = folds.split(4, X, y, None, 0)
    assert shares(splits, UNEVEN) == [pytest.approx(1 / 3)]
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(12))
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(12))


@pytest.mark.parametrize("y", [np.arange(12) * 1.5, np.arange(12) * 2, X, [X, UNEVEN], None])
def test_what_does_not_is_shuffled_only(y):
    splits = folds.split(4, X, y, None, 0)
    assert len(splits) == 4
    assert len(shares(splits, UNEVEN)) > 1
    assert list(splits[0][1]) != [0, 1, 2]
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(splits, folds.split(4, X, y, None, 0), strict=True))
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(splits, folds.split(4, X, y, None, 1), strict=True))


def test_groups_stay_together():
    groups = np.repeat(np.arange(6), 2)
    for y in (None, UNEVEN):
        for train, test in folds.split(2, X, y, groups, 0):
            assert not set(groups[train]) & set(groups[test])


@pytest.mark.parametrize(
    ("cv", "count"),
    [
        (model_selection.TimeSeriesSplit(3), 3),
        (model_selection.RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0), 6),
        (model_selection.ShuffleSplit(5, random_state=1), 5),
        (model_selection.LeaveOneOut(), 12),
    ],
)
def test_splitters_of_scikit_learn_split_as_they_do_there(cv, count):
    splits = folds.split(cv, X, np.eye(2)[UNEVEN], None, 0)
    expected = list(cv.split(X, UNEVEN))
    assert len(splits) == count
    for found, right in zip(splits, expected, strict=True):
        np.testing.assert_array_equal(found[0], right[0])
        np.testing.assert_array_equal(found[1], right[1])


@pytest.mark.parametrize(
    ("cv", "x", "y", "groups", "message"),
    [
        (13, X, None, None, r"`cv` must be at most the number of rows, 12. Received: cv=13"),
        (5, X, UNEVEN, None, r"at most the number of members of each class \(class .*1.* has 4\). Received: cv=5"),
        (model_selection.StratifiedKFold(5), X, np.eye(2)[UNEVEN], None, "members of each class"),
        (model_selection.RepeatedStratifiedKFold(n_splits=5, random_state=0), X, UNEVEN, None, "members of each class"),
        (4, X, None, np.repeat([0, 1, 2], 4), "`cv` must be at most the number of groups, 3"),
        (model_selection.GroupKFold(3), X, UNEVEN, None, "`cv` cannot split 12 rows: .*groups"),
        (model_selection.StratifiedKFold(2), X, np.arange(12) * 1.5, None, "`cv` cannot split 12 rows"),
        (model_selection.TimeSeriesSplit(12), X, None, None, "`cv` cannot split 12 rows"),
        (model_selection.KFold(3, shuffle=True), X, None, None, "same folds each time.*Give it a `random_state`"),
        (3, X, UNEVEN[:-1], None, "All data must have the same number of rows. Received: {'x': 12, 'y': 11}"),
        (3, iter(X), None, None, "`x` must be arrays, or a structure of arrays"),
    ],
)
def test_what_cannot_be_split_is_told(cv, x, y, groups, message):
    with pytest.raises(ValueError, match=message):
        folds.split(cv, x, y, groups, 0)


def test_a_fold_has_its_rows_of_everything():
    weight = np.arange(12.0)
    given = folds.Arguments([{"a": X, "b": [X + 1]}], {"y": UNEVEN, "sample_weight": weight, "epochs": 3})
    train, test = np.array([0, 2, 5]), np.array([1, 11])
    part = given.of_fold((train, test))
    np.testing.assert_array_equal(part.get("x")["b"][0], X[train] + 1)
    np.testing.assert_array_equal(part.get("y"), UNEVEN[train])
    np.testing.assert_array_equal(part.get("sample_weight"), weight[train])
    x, y, w = part.get("validation_data")
    np.testing.assert_array_equal(x["a"], X[test])
    np.testing.assert_array_equal(y, UNEVEN[test])
    np.testing.assert_array_equal(w, weight[test])
    assert part.get("epochs") == 3
    assert len(given.get("x")["a"]) == 12


def test_frames_are_split_as_well():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, index=np.arange(12)[::-1])
    part = folds.Arguments([frame, pandas.Series(UNEVEN)], {}).of_fold((np.array([3]), np.array([1, 2])))
    np.testing.assert_array_equal(part.get("x").to_numpy(), X[[3]])
    assert len(folds.split(4, frame, pandas.Series(UNEVEN), None, 0)) == 4


def test_the_search_tells_before_the_first_trial(tmp_path):
    x, y = searches.data(12)
    tuner = curve_tuner(tmp_path, cv=5)
    with pytest.raises(ValueError, match="members of each class"):
        tuner.search(x, y)
    with pytest.raises(ValueError, match="`validation_split` must be left out: `cv` makes the validation data"):
        tuner.search(x, y, validation_split=0.1)
    with pytest.raises(ValueError, match="`x` must be given"):
        tuner.search()
    assert not tuner.oracle.trials
    plain = curve_tuner(tmp_path, project_name="plain")
    with pytest.raises(ValueError, match="`groups` must be None without `cv`"):
        plain.search(x, y, groups=y)
