"""Several objectives: the front, what is measured of models, and what a search shows and keeps of them."""

import itertools

import event_files
import keras
import keras_tuner
import numpy as np
import pytest
import searches
from hypothesis import given
from hypothesis import strategies as st
from test_search_whole import EndsIn

from kopt import tuning
from kopt.tuning import progress
from kopt.tuning.front import Objectives
from kopt.tuning.outcome import Outcome

only_once = pytest.mark.skipif(keras.backend.backend() != "torch", reason="trains nothing: the same anywhere")
X, Y = searches.data()
COST, GAIN = keras_tuner.Objective("cost", "min"), keras_tuner.Objective("gain", "max")


def several(*objectives):
    return Objectives(tuning.OptunaOracle(list(objectives)).objective)


def front_by_hand(points, directions):
    """Returns which points no other one beats, by the definition."""

    def beats(one, other):
        pairs = [(a, b) if way == "min" else (b, a) for a, b, way in zip(one, other, directions, strict=True)]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return {i for i, point in enumerate(points) if not any(beats(other, point) for other in points)}


@only_once
@given(
    st.lists(st.tuples(*[st.integers(-3, 3)] * 3), min_size=1, max_size=30),
    st.tuples(*[st.sampled_from(["min", "max"])] * 3),
)
def test_the_front_is_what_its_definition_says(points, directions):
    objectives = several(*(keras_tuner.Objective(*pair) for pair in zip("abc", directions, strict=True)))
    found = {str(i): dict(zip("abc", point, strict=True)) for i, point in enumerate(points)}
    front = objectives.front(found, "b")
    assert {int(key) for key in front} == front_by_hand(points, directions)
    ordered = [found[key]["b"] for key in front]
    assert ordered == sorted(ordered, reverse=directions[1] == "max")
    best = objectives.best(found)
    for name, way in zip("abc", directions, strict=True):
        choose = min if way == "min" else max
        assert found[best[name]][name] == choose(metrics[name] for metrics in found.values())
        assert best[name] in front


class Two(searches.Curve):
    """Trains nothing: low cost at u = 0.3, great gain at u = 0.7."""

    def fit(self, hp, model, *args, **kwargs):
        self.calls.append(hp.get("u"))
        act = self.acts.get(len(self.calls) - 1)
        found = act() if act else None
        return {"cost": (hp.get("u") - 0.3) ** 2, "gain": -((hp.get("u") - 0.7) ** 2)} if found is None else found


def two_tuner(directory, acts=None, **options):
    options = {"objective": [COST, GAIN], "max_trials": 16, "seed": 0, "keep_models": 0, **options}
    return tuning.Tuner(Two(acts), directory=directory, **options)


def expected_front(tuner):
    rows = [row for row in tuner.rows() if row["status"] == "completed"]
    chosen = front_by_hand([(row["cost"], row["gain"]) for row in rows], ("min", "max"))
    return {rows[i]["trial"] for i in chosen}


FAILURES = {
    2: lambda: 1 / 0,
    4: lambda: {"cost": -1.0, "gain": float("nan")},
    5: lambda: {"cost": -1e9, "gain": np.inf},
}


@only_once
def test_a_search_says_which_trials_are_on_the_front(tmp_path):
    tuner = two_tuner(tmp_path, FAILURES)
    tuner.search(verbose=0)
    rows = {row["trial"]: row for row in tuner.rows()}
    assert [key for key, row in rows.items() if row["status"] == "failed"] == ["02", "04", "05"]
    assert rows["05"]["error"] == "The objective 'gain' is inf."
    front = expected_front(tuner)
    assert 1 < len(front) < 13
    assert {trial.trial_id for trial in tuner.pareto_trials()} == front
    table = tuner.results()
    assert set(table["trial"][table["pareto"]]) == front
    by_cost, by_gain = (list(tuner.pareto_front(by=by)["trial"]) for by in (None, "gain"))
    assert by_cost == by_gain[::-1] == sorted(front, key=lambda key: rows[key]["cost"])
    assert tuner.best_hyperparameters()[0].get("u") == rows[by_cost[0]]["hp/u"]
    chosen = [found.get("u") for found in tuner.best_hyperparameters(2, by="gain")]
    assert chosen == [rows[key]["hp/u"] for key in by_gain[:2]]
    assert next(iter(tuner.importances(by="gain"))) == "u"


@only_once
def test_a_search_that_was_broken_off_has_the_front_of_one_that_was_not(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    straight = two_tuner(tmp_path, project_name="straight")
    straight.search(verbose=0)
    with pytest.raises(KeyboardInterrupt):
        two_tuner(tmp_path, {9: interrupted}).search(verbose=0)
    again = two_tuner(tmp_path, on_existing="resume")
    again.search(verbose=0)
    names = ("trial", "hp/u", "cost", "gain", "pareto")
    assert again.results()[list(names)].equals(straight.results()[list(names)])
    with pytest.raises(ValueError, match=r"another one.*objective: .*'gain'.*now .*'cost'"):
        two_tuner(tmp_path, on_existing="resume", objective=COST)


class Stopping(keras_tuner.oracles.RandomSearchOracle):
    """KerasTuner's own, which stops every third trial."""

    def is_pruned(self, trial_id):
        return int(trial_id) % 3 == 0

    def update_trial(self, trial_id, metrics, step=0):
        if "__report__" not in metrics:
            return super().update_trial(trial_id, metrics, step)
        status = "STOPPED" if self.is_pruned(trial_id) else "RUNNING"
        return keras_tuner.engine.trial.Trial(self.trials[trial_id].hyperparameters, trial_id, status)


def test_a_pruned_trial_is_never_on_the_front(tmp_path):
    """Also with an oracle of KerasTuner, which ranks by the signed sum."""
    oracle = Stopping(["val_loss", "val_accuracy"], max_trials=3, seed=0)
    tuner = tuning.Tuner(searches.build, oracle, directory=tmp_path, seed=0, cv=2)
    tuner.search(X, Y, epochs=1, batch_size=24, verbose=0)
    assert [row["status"] for row in tuner.rows()] == ["pruned", "completed", "completed"]
    found = {row["trial"]: (row["val_loss"], row["val_accuracy"]) for row in tuner.rows()[1:]}
    front = {("1", "2")[i] for i in front_by_hand(list(found.values()), ("min", "max"))}
    assert {trial.trial_id for trial in tuner.pareto_trials()} == front
    assert {path.parent.name for path in tuner._files()} == {f"trial_{key}" for key in front}
    for key, found in tuner.outcomes.items():
        signed = found.metrics["val_loss"] - found.metrics["val_accuracy"]
        assert tuner.oracle.get_trial(key).score == pytest.approx(signed, rel=1e-6)


def sized(hp):
    """Returns a compiled classifier of a width."""
    layers = [keras.Input((4,)), keras.layers.Dense(hp.Int("units", 1, 16), "relu"), keras.layers.BatchNormalization()]
    model = keras.Sequential([*layers, keras.layers.Dense(searches.CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1.0, sampling="log")), loss, metrics=["accuracy"])
    return model


def size_of(units):
    return (4 + 1) * units + 4 * units + searches.CLASSES * (units + 1)


SEARCH = {"epochs": 2, "batch_size": 12, "verbose": 0}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Returns a search of three objectives that was broken off after two trials and went on, and where it logs."""
    place = tmp_path_factory.mktemp("pareto")
    options = {
        "objective": [tuning.ModelSize(), "val_loss", "val_accuracy"],
        "max_trials": 5, "directory": place, "seed": 0, "tensorboard": place / "logs",
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        tuning.Tuner(sized, **options).search(X, Y, validation_split=0.5, callbacks=[EndsIn(2)], **SEARCH)
    tuner = tuning.Tuner(sized, on_existing="resume", **options)
    assert len(tuner.outcomes) == 2
    tuner.search(X, Y, validation_split=0.5, **SEARCH)
    return tuner, place


def test_training_and_size_make_a_front(searched):
    tuner, _ = searched
    rows = tuner.rows()
    names = ("model_parameters", "val_loss", "val_accuracy")
    assert [row["model_parameters"] for row in rows] == [size_of(row["hp/units"]) for row in rows]
    chosen = front_by_hand([[row[name] for name in names] for row in rows], ("min", "min", "max"))
    front = {rows[i]["trial"] for i in chosen}
    assert {row["trial"] for row in rows if row["pareto"]} == front
    assert {path.parent.name for path in tuner._files()} == {f"trial_{key}" for key in front}
    for row in rows:  # The best epoch is that of the first metric of the training.
        training = tuner.outcomes[row["trial"]].trainings[0]
        assert row["val_loss"] == pytest.approx(min(training.values), rel=1e-6)
    smallest = min(rows, key=lambda row: (row["model_parameters"], row["val_loss"]))
    for by, best in (("model_parameters", smallest), (None, min(rows, key=lambda row: row["val_loss"]))):
        model = tuner.best_model(by=by)
        assert model.count_params() == best["model_parameters"]
        found = model.evaluate(X[24:], Y[24:], verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(best["val_loss"], rel=1e-5)
    assert tuner.refit(by="model_parameters").count_params() == smallest["model_parameters"]


def test_tensorboard_has_each_objective(searched):
    tuner, place = searched
    shown = event_files.scalars(place / "logs" / "search")
    better = {"model_parameters": min, "val_loss": min, "val_accuracy": max}
    for name, choose in better.items():
        values = [tuner.outcomes[key].metrics[name] for key in sorted(tuner.outcomes)]
        so_far = [value for _, value in shown[f"search/best_so_far/{name}"]]
        assert so_far == pytest.approx(list(itertools.accumulate(values, choose)), rel=1e-6)
    assert "search/best_so_far" not in shown
    run = place / "logs" / "trial_0"
    assert {value for _, value in event_files.scalars(run / "train")["epoch_model_parameters"]} == {
        tuner.outcomes["0"].metrics["model_parameters"]
    }
    assert event_files.hparams(run).status == "STATUS_SUCCESS"


def test_the_page_has_a_picture_of_each_pair(searched, tmp_path):
    tuner, _ = searched
    page = tuner.report(tmp_path / "report.html").read_text()
    front = len(tuner.pareto_trials())
    assert f"<h2>Pareto front: {front} of 5 trials</h2>" in page
    assert page.count('class="front"') == 3 * front
    for name in ("model_parameters", "val_loss", "val_accuracy"):
        for title in ("Best so far", "Importances", "Slices"):
            assert f"<h2>{title}: {name}</h2>" in page
        best = tuner.outcomes[tuner.pareto_trials(by=name)[0].trial_id]
        assert f"Best: trial {best.trial_id}, {name} {best.metrics[name]:.6g}; with" in page
    assert "nan" not in page


def test_folds_are_averaged_and_the_size_is_measured_once(tmp_path):
    class Counted(tuning.ModelObjective):
        calls = 0

        def measure(self, model):
            type(self).calls += 1
            return model.count_params()

    options = {"max_trials": 1, "directory": tmp_path, "seed": 0, "cv": 2}
    tuner = tuning.Tuner(sized, objective=["val_loss", Counted("count", "max")], **options)
    tuner.search(X, Y, **(SEARCH | {"epochs": 1}))
    assert Counted.calls == 1
    found = tuner.outcomes["0"]
    folds = [training.metrics["val_loss"] for training in found.trainings]
    assert found.metrics["val_loss"] == pytest.approx(np.mean(folds), rel=1e-6)
    assert found.metrics["val_loss_std"] == pytest.approx(np.std(folds), rel=1e-6)
    assert found.metrics["count"] == size_of(tuner.rows()[0]["hp/units"])
    assert "count_std" not in found.metrics
    assert [trial.trial_id for trial in tuner.pareto_trials()] == ["0"]


def test_the_size_of_a_model_in_numbers_and_bytes():
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4)
    dropped = keras.layers.Dropout(0.5, seed=1)(shared(shared(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="bfloat16")(keras.layers.BatchNormalization()(dropped)))
    model.compile("adam", "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    half = 4 * 2 + 2
    assert tuning.ModelSize().measure(model) == 20 + 16 + half
    assert tuning.ModelSize("bytes").measure(model) == 4 * (20 + 16) + 2 * half
    assert [tuning.ModelSize(unit).name for unit in ("parameters", "bytes")] == ["model_parameters", "model_bytes"]


@only_once
def test_a_model_that_is_built_by_its_training_is_measured_then(tmp_path):
    def late(hp):
        model = keras.Sequential([keras.layers.Dense(hp.Int("units", 1, 2)), keras.layers.Dense(searches.CLASSES)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    options = {"max_trials": 1, "directory": tmp_path, "seed": 0}
    tuner = tuning.Tuner(late, objective=["loss", tuning.ModelSize()], **options)
    tuner.search(X, Y, verbose=0)
    units = tuner.rows()[0]["hp/units"]
    assert tuner.rows()[0]["model_parameters"] == 5 * units + 3 * (units + 1)
    never = tuning.Tuner(Two(), objective=[COST, tuning.ModelSize()], project_name="never", **options)
    with pytest.raises(ValueError, match="measured of a model that is built"):
        never.search(verbose=0)


class Odd(tuning.ModelObjective):
    """Measures what the test asks for."""

    def __init__(self, value):
        super().__init__("odd")
        self.value = value

    def measure(self, model):
        return self.value() if callable(self.value) else self.value


@only_once
def test_what_cannot_be_measured(tmp_path):
    def searched(value):
        tuner = tuning.Tuner(sized, objective=["loss", Odd(value)], max_trials=1, directory=tmp_path,
                             on_existing="overwrite")  # fmt: skip
        tuner.search(X, Y, verbose=0)
        return tuner.outcomes["0"]

    with pytest.raises(TypeError, match=r"`Odd.measure` must return a number. Received: 'big' of class str"):
        searched("big")
    assert searched(float("nan")).error == "The objective 'odd' is nan."
    failed = searched(lambda: 1 / 0)
    assert (failed.status, failed.error) == ("failed", "ZeroDivisionError: division by zero")
    assert failed.epochs == 0
    with pytest.raises(NotImplementedError, match="ModelObjective must define `measure"):
        tuning.ModelObjective("nothing").measure(None)


@only_once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pruner": "asha"}, "`pruner` must be None with several objectives"),
        ({"objective": []}, "`objective` must be a metric, or a list of different ones"),
        ({"objective": ["loss", "loss"]}, r"a list of different ones. Received: objective=\['loss', 'loss'\]"),
        ({"objective": tuning.ModelSize()}, "`objective` must be a list with at least one metric of the training"),
        ({"objective": ["loss", tuning.ModelSize]}, r"Received: objective='ModelSize'. Call it: ModelSize\(...\)"),
        ({"sampler": "gp"}, "`sampler` must be one of .* with several objectives"),
    ],
)
def test_bad_objectives_are_told_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        two_tuner(tmp_path, **options)
    assert not list(tmp_path.iterdir())


@only_once
def test_bad_questions_are_answered_with_the_names(tmp_path):
    with pytest.raises(ValueError, match="`unit` must be one of 'parameters', 'bytes'"):
        tuning.ModelSize("MB")
    with pytest.raises(ValueError, match="`direction` must be one of 'min', 'max'"):
        tuning.ModelObjective("speed", "up")
    tuner = two_tuner(tmp_path, max_trials=1)
    assert tuner.pareto_trials() == []
    assert len(tuner.pareto_front()) == 0
    tuner.search(verbose=0)
    for ask in (tuner.best_model, tuner.best_hyperparameters, tuner.pareto_front, tuner.importances, tuner.refit):
        with pytest.raises(ValueError, match=r"`by` must be one of 'cost', 'gain'. Received: by='loss'"):
            ask(by="loss")
    with pytest.raises(ValueError, match=r"these exist: 'cost', 'gain'. Received: objective='cost2'"):
        two_tuner(tmp_path, objective=[GAIN, keras_tuner.Objective("cost2", "min")], project_name="b").search(verbose=0)


@only_once
def test_the_number_of_models_that_are_kept_can_be_bounded(tmp_path):
    def kept(name, **options):
        tuner = tuning.Tuner(sized, objective=["loss", tuning.ModelSize()], directory=tmp_path, project_name=name,
                             max_trials=3, seed=1, **options)  # fmt: skip
        tuner.search(X, Y, batch_size=24, verbose=0)
        return [key.removeprefix("trial_") for key in sorted({path.parent.name for path in tuner._files()})], tuner

    whole, tuner = kept("whole")
    front = [trial.trial_id for trial in tuner.pareto_trials()]
    assert len(front) > 1
    assert whole == sorted(front)
    assert kept("one", keep_models=1)[0] == front[:1]
    assert kept("none", keep_models=0)[0] == []


@only_once
def test_one_objective_has_a_front_of_one(tmp_path):
    tuner = searches.curve_tuner(tmp_path)
    tuner.search(verbose=0)
    assert [trial.trial_id for trial in tuner.pareto_trials()] == [tuner.best_trials()[0].trial_id]
    assert "pareto" not in tuner.results()
    assert tuner.best_hyperparameters(by="score")[0].values == tuner.best_hyperparameters()[0].values


@only_once
def test_the_state_of_a_search_for_a_front_in_words():
    objectives = several(COST, GAIN)
    outcomes = {
        "0": Outcome("0", metrics={"cost": 0.25, "gain": 2.0, "gain_std": 0.5}, seconds=1.0),
        "1": Outcome("1", metrics={"cost": 0.5, "gain": 3.0}, seconds=1.0),
    }
    assert progress.line(outcomes["0"], objectives.names) == "Trial 0 completed: cost 0.25, gain 2 ± 0.5"
    assert progress.state(outcomes, ["0", "1"], 2, objectives) == (
        "2/2 done, best cost 0.25 in trial 0, best gain 3 in trial 1, 2 on the front"
    )
