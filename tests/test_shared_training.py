"""Models that several workers of one search have trained: each is where it should be, and none is another one's."""

import keras
import keras_tuner
import pytest
import searches

from kopt import tuning


class Watched(keras_tuner.HyperModel):
    """Trains a classifier, and then does what the test asks for in a trial."""

    def __init__(self, acts=None):
        super().__init__()
        self.acts = acts or {}
        self.count = 0

    def build(self, hp):
        return searches.build(hp)

    def fit(self, hp, model, *args, **kwargs):
        found = super().fit(hp, model, *args, **kwargs)
        self.count += 1
        if self.count in self.acts:
            self.acts[self.count]()
        return found


def worker(place, acts=None, directory="models", **options):
    return tuning.Tuner(
        Watched(acts), objective="val_loss", max_trials=4, seed=0, storage=f"journal://{place}/trials.log",
        directory=place / directory, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Returns two workers of a search that has ended, and its place; the first one's second trial was given away."""
    place = tmp_path_factory.mktemp("shared")
    x, y = searches.data()
    held = searches.data(seed=1)
    arguments = {"x": x, "y": y, "validation_data": held, "epochs": 2, "batch_size": 16, "verbose": 0}

    def take_over():
        """Is the second worker, which does not hear of the first one any more and does everything else."""
        (lost,) = second.oracle.refresh().running()
        assert second.oracle._shared.give_up(lost)
        second.search(**arguments)

    first, second = worker(place, {2: take_over}), worker(place)
    first.search(**arguments)
    return first, second, place


def test_the_worker_that_was_away_changes_nothing(shared):
    first, second, _ = shared
    assert first.hypermodel.count == 2
    assert second.hypermodel.count == 3
    assert [row["status"] for row in first.rows()] == ["completed"] * 4
    assert first.rows() == second.rows()
    assert first.oracle.refused("0001")
    assert [chain.last.user_attrs.get("kopt:try") for chain in second.oracle.refresh().chains] == [None, 2, None, None]


def test_the_best_model_is_the_one_that_was_judged(shared):
    first, second, place = shared
    x, y = searches.data(seed=1)
    best = min(first.rows(), key=lambda row: row["val_loss"])
    for tuner in (first, second, worker(place)):
        found = tuner.best_model().evaluate(x, y, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    (kept,) = [path.parent.name for path in place.rglob("*.weights.h5")]
    assert kept == f"trial_{best['trial']}"


def test_a_worker_elsewhere_says_where_the_weights_are(shared):
    _, _, place = shared
    other = worker(place, directory="elsewhere")
    with pytest.raises(
        ValueError, match=r"has no weights here. .* it was run by .*:\d+ in '.*models/search'. .*`refit`"
    ):
        other.best_model()
    x, y = searches.data()
    model = other.refit(x, y, epochs=1, verbose=0)
    assert model.count_params() == 15
    assert len(other.get_best_hyperparameters(4)) == 4


@pytest.mark.slow
def test_weights_of_a_try_that_was_given_away_are_not_those_of_the_next(tmp_path):
    x, y = searches.data()
    arguments = {"x": x, "y": y, "epochs": 1, "batch_size": 16, "verbose": 0}

    def take_over():
        (lost,) = second.oracle.refresh().running()
        second.oracle._shared.give_up(lost)
        second.search(**arguments)

    options = {"cv": 2, "keep_models": 4}
    first, second = worker(tmp_path, {3: take_over}, **options), worker(tmp_path, **options)
    first.search(**arguments)
    names = {path.relative_to(tmp_path / "models" / "search") for path in tmp_path.rglob("*.weights.h5")}
    folds = [f"fold_{fold}" for fold in range(2)]
    plain = {f"trial_000{i}/{fold}.weights.h5" for i in (0, 3, 4) for fold in folds}  # 2 is the second try at 1.
    assert {str(name) for name in names} == plain | {f"trial_0001/{fold}-2.weights.h5" for fold in folds}
    for tuner in (first, second):
        trial = tuner.oracle.trials["0001"]
        assert isinstance(tuner.load_model(trial, fold=1), keras.Model)


@pytest.mark.slow
def test_pruners_see_the_trials_of_all_workers(tmp_path):
    x, y = searches.data()
    arguments = {"x": x, "y": y, "validation_data": (x, y), "epochs": 4, "batch_size": 16, "verbose": 0}

    def stop():
        raise KeyboardInterrupt

    def made(acts=None):
        return tuning.Tuner(
            Watched(acts), objective="val_loss", max_trials=8, seed=0, pruner="asha", storage="journal",
            directory=tmp_path, tensorboard=tmp_path / "logs",
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        made({4: stop}).search(**arguments)
    second = made()
    second.search(**arguments)
    alone = tuning.Tuner(
        Watched(), objective="val_loss", max_trials=8, seed=0, pruner="asha", directory=tmp_path / "alone"
    )
    alone.search(**arguments)
    assert [row["status"] for row in second.rows()[:4]] == [row["status"] for row in alone.rows()[:4]]
    statuses = [row["status"] for row in second.rows()]
    assert set(statuses) == {"completed", "pruned"}
    assert second.best_trials(8)
    assert all(not second.oracle.is_pruned(trial.trial_id) for trial in second.best_trials(8))
    runs = {path.name for path in (tmp_path / "logs").iterdir()}
    assert {f"trial_{row['trial']}" for row in second.rows()} < runs
    assert any(name.startswith("search-") for name in runs)


@pytest.mark.slow
def test_a_trial_in_a_process_of_its_own(tmp_path):
    x, y = searches.data()
    tuner = tuning.Tuner(
        searches.build, objective="val_loss", max_trials=2, seed=0, isolate="process", storage="journal",
        directory=tmp_path,
    )  # fmt: skip
    tuner.search(x, y, validation_data=(x, y), epochs=2, verbose=0)
    assert [row["status"] for row in tuner.rows()] == ["completed"] * 2
    best = min(row["val_loss"] for row in tuner.rows())
    found = tuner.best_model().evaluate(x, y, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(best, rel=1e-5)
