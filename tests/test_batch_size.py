"""Are all rows there, in batches of the promised sizes, and does `fit` train on just these?"""

import keras
import numpy as np
import pytest

from kopt import optimizers
from kopt.testing import problems
from kopt.testing.training_checks import compiled
from kopt.training import BatchSizeSchedule

X = np.arange(10.0)
BACKEND = keras.backend.backend()


def batches(data, count):
    return [data[n] for n in range(count)]


class Halves(keras.utils.PyDataset):
    """Ten rows in batches of three."""

    epochs = 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[3 * index : 3 * index + 3], -X[3 * index : 3 * index + 3]

    def on_epoch_end(self):
        self.epochs += 1


def tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, -X)).batch(3)


def loader():
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(-X))
    return torch.utils.data.DataLoader(pairs, batch_size=3)


# TensorFlow and torch in one process do not get on: each is tried where it is the backend.
SOURCES = {"arrays": lambda: (X, -X), "list": lambda: [X, -X], "dataset": Halves}
SOURCES |= {"tensorflow": {"tf.data": tf_data}, "torch": {"loader": loader}}.get(BACKEND, {})


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_rows_come_in_order_in_batches_of_each_size(source):
    data = BatchSizeSchedule(source(), {0: 2, 3: 5, 5: 16}, shuffle=False)
    seen = batches(data, 7)
    assert [len(x) for x, _ in seen] == [2, 2, 2, 5, 5, 16, 16]
    for part, sign in ((0, 1), (1, -1)):
        rows = np.concatenate([batch[part] for batch in seen])
        np.testing.assert_array_equal(rows, sign * np.resize(X, len(rows)))


def test_epochs_are_passes_over_the_data():
    data = BatchSizeSchedule((X,), {0: 3, 1: 4, 3: 20}, by="epoch", shuffle=False)
    # 10 rows: the fourth batch begins in the first pass, the ninth in the third one; then the fourth pass.
    assert [len(x) for (x,) in batches(data, 10)] == [3, 3, 3, 3, 4, 4, 4, 4, 4, 20]
    assert data.steps(1) == 4
    assert data.steps(3) == 9
    assert BatchSizeSchedule((X,), {0: 3}).steps(3) == 10


def test_each_pass_is_shuffled_anew_and_as_the_seed_says():
    first, again = (batches(BatchSizeSchedule((X, -X), {0: 5}, seed=3), 8) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    passes = [np.concatenate([x for x, _ in first[k : k + 2]]) for k in (0, 2, 4, 6)]
    assert all(sorted(rows) == list(X) for rows in passes)
    assert len({tuple(rows) for rows in [*passes, X]}) == 5
    other = BatchSizeSchedule((X, -X), {0: 5}, seed=4)[0]
    assert not np.array_equal(other[0], first[0][0])


def test_a_run_goes_on_where_it_was():
    def make(**options):
        return BatchSizeSchedule((X,), {0: 3, 4: 7}, seed=1, **options)

    whole, rest = batches(make(), 9), batches(make(initial_step=3), 6)
    for a, b in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_callable_gives_sizes_and_structures_are_kept():
    data = BatchSizeSchedule(({"a": X, "b": np.stack([X, X], 1)}, X), lambda step: 1 + step, shuffle=False)
    x, y = batches(data, 3)[2]
    assert x["b"].shape == (3, 2)
    np.testing.assert_array_equal(x["a"], y)


def test_the_first_batches_can_be_read_twice_and_the_first_starts_anew():
    data = BatchSizeSchedule((X,), {0: 2}, seed=0)
    first = batches(data, 20)
    for a, b in zip(first, batches(data, 20), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(IndexError, match="in order: asked for 25, after 19"):
        data[25]


def test_a_dataset_of_keras_is_told_when_a_pass_ends():
    source = Halves()
    batches(BatchSizeSchedule(source, {0: 5}), 6)
    assert source.epochs == 2


def test_fit_trains_on_just_these_batches():
    x, y = problems.data()
    sizes = {0: 2, 4: 5, 7: 12}
    by_hand, fitted = (compiled(problems.sequential(), optimizers.AdamW(0.02)) for _ in range(2))
    for batch in batches(BatchSizeSchedule((x, y), sizes, seed=2), 9):
        by_hand.train_on_batch(*batch)
    fitted.fit(BatchSizeSchedule((x, y), sizes, seed=2), epochs=3, steps_per_epoch=3, verbose=0)
    problems.assert_close(*(problems.values(model.trainable_variables) for model in (by_hand, fitted)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BatchSizeSchedule((X,), {1: 2}), "`sizes` must be a dict .* 0 among them"),
        (lambda: BatchSizeSchedule((X,), {0: 0}), "`sizes` must be a dict"),
        (lambda: BatchSizeSchedule((X,), {0: 2.5}), "`sizes` must be a dict"),
        (lambda: BatchSizeSchedule((X,), 32), "`sizes` must be a dict"),
        (lambda: BatchSizeSchedule((X,), lambda step: 0)[0], "`sizes` must be an integer >= 1. Received: sizes=0"),
        (
            lambda: BatchSizeSchedule((X, X[:3]), {0: 2}),
            r"same number of rows, at least 1. Received: dataset='rows: \[10, 3\]'",
        ),
        (lambda: BatchSizeSchedule((X[:0],), {0: 2}), "at least 1"),
        (lambda: BatchSizeSchedule((X, X, X, X), {0: 2}), "Received: dataset='4 parts'"),
        (lambda: BatchSizeSchedule(3, {0: 2}), "arrays, or an iterable of batches"),
        (lambda: BatchSizeSchedule((X,), {0: 2}, by="week"), "`by`"),
        (lambda: BatchSizeSchedule(Halves(), {0: 2}).steps(2), "in arrays"),
        (lambda: batches(BatchSizeSchedule(iter([X]), {0: 7}), 2), "a generator ends once"),
    ],
)
def test_what_cannot_be_batched_says_so(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_pass_has_a_whole_number():
    assert BatchSizeSchedule(X, lambda epoch: [2, 5][epoch], by="epoch").steps(2) == 7


def test_eight_batches_are_remembered():
    data = BatchSizeSchedule(X, {0: 2}, shuffle=False)
    seen = batches(data, 12)
    np.testing.assert_array_equal(data[4], seen[4])
    with pytest.raises(IndexError, match="in order"):
        data[3]


def test_data_without_rows_is_found_out_in_the_first_pass():
    with pytest.raises(ValueError, match=r"`dataset` must have rows\. Received: none\.$"):
        BatchSizeSchedule(set(), {0: 2})[0]


def test_a_pass_that_ends_with_a_batch_is_over():
    data = BatchSizeSchedule(X, {0: 5, 1: 2, 2: 10}, by="epoch", shuffle=False)
    assert [len(batch) for batch in batches(data, 9)] == [5, 5, 2, 2, 2, 2, 2, 10, 10]


def test_batches_of_one_row():
    np.testing.assert_array_equal(BatchSizeSchedule(X, {0: 1}, shuffle=False)[0], X[:1])
