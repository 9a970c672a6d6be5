"""The tuner with real trainings: folds, pruning, the weights that are kept, what is trained in the end."""

import keras
import keras_tuner
import numpy as np
import pytest
import searches
from keras import ops

from kopt import tuning

X, Y = searches.data()


def fit(tuner, x=X, y=Y, epochs=2, **options):
    options = {"batch_size": 16, "epochs": epochs, "verbose": 0, **options}
    tuner.search(x, y, **options)
    return tuner


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A search over three folds, with one model kept."""
    tuner = tuning.Tuner(
        searches.build, objective="val_loss", max_trials=2, cv=3, directory=tmp_path_factory.mktemp("cv"), seed=1
    )
    return fit(tuner)


def test_folds_give_means_and_deviations(folded):
    for outcome in folded.outcomes.values():
        assert [training.fold for training in outcome.trainings] == [0, 1, 2]
        assert outcome.epochs == 6
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            values = [training.metrics[name] for training in outcome.trainings]
            assert outcome.metrics[name] == pytest.approx(np.mean(values), rel=1e-12)
            assert outcome.metrics[f"{name}_std"] == pytest.approx(np.std(values), rel=1e-12)
        for training in outcome.trainings:
            assert training.metrics["val_loss"] == min(training.values)
            assert training.best_epoch == int(np.argmin(training.values))
    trial = folded.best_trials()[0]
    assert trial.score == folded.outcomes[trial.trial_id].metrics["val_loss"]


def test_tables_of_trials_and_of_folds(folded):
    table, parts = folded.results(), folded.results(folds=True)
    assert len(table) == 2
    assert len(parts) == 6
    np.testing.assert_allclose(parts.groupby("trial")["val_loss"].mean(), table["val_loss"])
    assert {"hp/rate", "hp/momentum", "val_accuracy_std", "seconds"} <= set(table.columns)


def test_each_fold_has_a_model_that_gives_what_the_table_says(folded, tmp_path):
    trial = folded.best_trials()[0]
    for fold in range(3):
        model = folded.best_model(fold)
        _, rows = folded._splits[fold]
        expected = folded.outcomes[trial.trial_id].trainings[fold].metrics
        found = model.evaluate(X[rows], Y[rows], verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(expected["val_loss"], rel=1e-5)
        assert found["accuracy"] == pytest.approx(expected["val_accuracy"], rel=1e-5)
    # Three batches of 16 would be one epoch; with two thirds of the rows it is two.
    best = folded.outcomes[trial.trial_id].trainings[2].best_epoch
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 2 * (best + 1)
    kept = {path.parent.name for path in (tmp_path / folded.project_dir).glob("trial_*/*.weights.h5")}
    assert kept == {f"trial_{trial.trial_id}"}
    other = next(key for key in folded.outcomes if key != trial.trial_id)
    with pytest.raises(ValueError, match=r"Trial . has no weights on disk. Received: keep_models=1"):
        folded.load_model(folded.oracle.get_trial(other))
    with pytest.raises(ValueError, match=r"`fold` must be less than the number of folds, 3. Received: fold=3"):
        folded.best_model(3)


def test_refit_trains_on_all_rows_for_the_best_number_of_epochs(folded):
    model = folded.refit()
    best = folded.outcomes[folded.best_trials()[0].trial_id].best_epoch
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 3 * (best + 1)
    longer = folded.refit(X[:16], Y[:16], batch_size=8, epochs=3, verbose=0)
    assert int(ops.convert_to_numpy(longer.optimizer.iterations)) == 6


def test_a_trial_is_the_same_in_any_search_with_its_seed(folded, tmp_path):
    again = tuning.Tuner(searches.build, objective="val_loss", max_trials=1, cv=3, directory=tmp_path, seed=1)
    fit(again)
    first, second = (tuner.outcomes["0"].trainings for tuner in (folded, again))
    for one, other in zip(first, second, strict=True):
        # Threads of a backend may sum in another order.
        np.testing.assert_allclose(one.values, other.values, rtol=1e-5)
    assert first[0].values != first[1].values


def test_pruning_stops_trials_in_their_first_fold(tmp_path):
    rates = iter([0.3, 0.3, 1e-6, 0.3])

    class Rates(keras_tuner.HyperModel):
        def build(self, hp):
            hp.Float("u", 0, 1)
            return searches.build(hp)

        def fit(self, hp, model, *args, **kwargs):
            if next(folds) == 0:
                model.optimizer.learning_rate = next(rates)
            return model.fit(*args, **kwargs)

    folds = iter([0, 1, 0, 1, 0, 0, 1])
    oracle = searches.MedianOracle("val_loss", max_trials=4, seed=3)
    tuner = fit(tuning.Tuner(Rates(), oracle, cv=2, directory=tmp_path, seed=0), epochs=3)
    assert [tuner.outcomes[key].status for key in "0123"][:3] == ["completed", "completed", "pruned"]
    pruned = tuner.outcomes["2"]
    assert [training.fold for training in pruned.trainings] == [0]
    assert pruned.epochs < 3
    assert "val_loss_std" not in pruned.metrics
    assert sorted(oracle.reports["0"]) == [1, 2, 3]
    assert oracle.reports["0"][3] == tuner.outcomes["0"].trainings[0].values[2]
    assert "2" not in {trial.trial_id for trial in tuner.best_trials(9)}
    assert tuner.results().set_index("trial")["status"]["2"] == "pruned"
    again = tuning.Tuner(
        Rates(), searches.MedianOracle("val_loss", max_trials=4), cv=2, directory=tmp_path, on_existing="resume"
    )
    assert again.outcomes["2"].status == "pruned"
    assert "2" not in {trial.trial_id for trial in again.best_trials(9)}


def test_asha_stops_after_the_first_epoch_and_not_after_the_last(tmp_path):
    """A trial that has had all its epochs is whole: to stop it would spare nothing and take it out of the results."""

    def build(hp):
        model = searches.build(hp)
        model.optimizer.learning_rate = {0: 0.3, 1: 0.1, 2: 1e-6}[hp.Choice("worse", [0, 1, 2])]
        return model

    def statuses(epochs):
        options = {"pruner": "asha", "max_trials": 3, "seed": 0}
        tuner = tuning.Tuner(build, objective="val_loss", directory=tmp_path / str(epochs), **options)
        for worse in range(3):
            tuner.oracle.enqueue({"rate": 0.01, "momentum": 0.0, "worse": worse})
        tuner.search(X, Y, validation_data=(X, Y), epochs=epochs, batch_size=16, verbose=0)
        return [(row["status"], row["epochs"]) for row in tuner.rows()]

    assert statuses(1) == [("completed", 1)] * 3
    assert statuses(2) == [("completed", 2), ("pruned", 1), ("pruned", 1)]


def test_a_training_that_diverges_fails_its_trial(tmp_path):
    def diverging(hp):
        model = searches.build(hp)
        model.compile(keras.optimizers.SGD(1e30), "mse", metrics=["mae"])
        return model

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    epochs = []
    callback.__deepcopy__ = lambda memo: callback
    tuner = tuning.Tuner(diverging, objective="val_mae", max_trials=2, directory=tmp_path, seed=0)
    fit(tuner, X, X[:, :3], epochs=5, validation_data=(X, X[:, :3]), callbacks=[callback])
    assert [found.status for found in tuner.outcomes.values()] == ["failed", "failed"]
    assert "after epoch" in tuner.outcomes["0"].error
    assert len(epochs) < 10
    with pytest.raises(ValueError, match=r"`search` must have run a trial to its end. .* 2 of them failed"):
        tuner.best_model()


def test_an_objective_that_is_none_ends_the_search_in_the_first_epoch(tmp_path):
    tuner = tuning.Tuner(
        searches.build, objective=keras_tuner.Objective("val_auc", "max"), max_trials=3, directory=tmp_path, seed=0
    )
    with pytest.raises(ValueError, match="no data to validate with"):
        fit(tuner, epochs=50)
    assert not tuner.oracle.trials
    with pytest.raises(ValueError, match=r"these exist: 'accuracy', 'loss', 'val_accuracy', 'val_loss'. .*'val_auc'"):
        fit(tuner, epochs=50, validation_split=0.5)
    assert tuner.trainings[0].epochs == 0
    with pytest.raises(ValueError, match="these exist: 'accuracy', 'loss', 'val_accuracy', 'val_loss'"):
        fit(tuner, epochs=50, validation_split=0.5, callbacks=[Ruin()])  # A callback of the user's might add it.
    assert tuner.trainings[0].epochs == 1


class Ruin(keras.callbacks.Callback):
    """Makes the second epoch a bad one."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.optimizer.learning_rate = 1e3


def test_validation_data_join_the_rest_in_the_end(tmp_path):
    tuner = tuning.Tuner(searches.build, objective="val_loss", max_trials=1, directory=tmp_path, max_epochs_total=2)
    fit(tuner, X[:32], Y[:32], validation_data=(X[32:], Y[32:]), callbacks=[Ruin()])
    # The second epoch spoilt the weights: those of the first are kept, and its number.
    assert tuner.outcomes["0"].trainings[0].best_epoch == 0
    assert tuner.best_model().evaluate(X[32:], Y[32:], verbose=0)[0] == pytest.approx(
        tuner.best_trials()[0].score, rel=1e-5
    )
    model = tuner.refit(epochs=1)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 3
    # Two epochs were all that there might be.
    more = tuning.Tuner(
        searches.build, objective="val_loss", max_trials=9, directory=tmp_path, max_epochs_total=4, on_existing="resume"
    )
    fit(more, X[:32], Y[:32], validation_data=(X[32:], Y[32:]))
    assert len(more.outcomes) == 2
