"""Search spaces: what is active when, what a trial gets of it, how it prints, and what is refused."""

import inspect
import io
import json
import re
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
import rich.console
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import kopt
from kopt.tuning import Choice, Float, Int, Maybe, OptimizerSpace, ScheduleSpace, SearchSpace
from kopt.tuning.space.default_ranges import OPTIMIZERS, SCHEDULES, UNSCHEDULED
from kopt.tuning.space.smoothing import smoothed

LOG = {"sampling": "log"}
MANY = SearchSpace(
    optimizer=["adamw", "sgd", "keras.RMSprop", "ScheduleFreeAdamW", "Prodigy"],
    schedule=["constant", "cosine_decay", "WarmupStableDecay", ScheduleSpace("step_decay", decay_rate=0.2)],
    clipping={"none": None, "global_clipnorm": Float(0.1, 10.0, **LOG), "clipvalue": 0.5},
    l2=Maybe(Float(1e-6, 1e-2, **LOG)),
    dropout=Float(0.0, 0.5),
    label_smoothing=Choice([0.0, 0.1]),
    batch_size=Int(8, 64, step=2, **LOG),
)


def drawn(space, seed):
    """Returns random values for what is active and nothing for the rest, as KerasTuner's oracles do."""
    hp = space.hyperparameters()
    for number, entry in enumerate(hp.space):
        hp.values.pop(entry.name, None)
        if hp.is_active(entry):
            hp.values[entry.name] = entry.random_sample(seed * 100 + number)
    return hp


def numbers_of(config):
    """Returns the numbers of a config, those of schedules inside included."""
    found = {name: value for name, value in config.items() if not isinstance(value, dict)}
    for value in config.values():
        if isinstance(value, dict) and "class_name" in value:
            found |= {f"{value['class_name']}/{name}": inner for name, inner in numbers_of(value["config"]).items()}
    return found


# A space


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_the_optimizer_has_what_was_drawn_and_nothing_else(seed):
    hp = drawn(MANY, seed)
    chosen, values = hp.values["optimizer"], dict(hp.values)
    made = MANY.declare(hp).make_optimizer()
    assert f"{'keras.' if type(made).__module__.startswith('keras') else ''}{type(made).__name__}" == chosen
    found = numbers_of(made.get_config())
    for name, value in values.items():
        part, _, argument = name.partition("/")
        if part == chosen and argument != "learning_rate":
            assert found[argument] == value or pytest.approx(value, rel=1e-6) == found[argument], name
        elif part in SCHEDULES and argument not in ("warmup", ""):
            assert [found[key] for key in found if key.endswith(f"{part}/{argument}")] == [value], name
    rates = [found[key] for key in found if key.endswith("learning_rate") and not key.endswith("end_learning_rate")]
    assert rates == [pytest.approx(values[f"{chosen}/learning_rate"], rel=1e-6)]
    clippings = {kind: made.get_config().get(kind) for kind in ("clipnorm", "clipvalue", "global_clipnorm")}
    drawn_limit = {} if values["clipping"] == "none" else {values["clipping"]: values[f"clipping/{values['clipping']}"]}
    assert {kind: limit for kind, limit in clippings.items() if limit is not None} == drawn_limit
    # What belongs to branches that were not taken has no value, and KerasTuner says so too.
    inactive = [entry for entry in hp.space if not hp.is_active(entry)]
    assert inactive
    assert not {entry.name for entry in inactive} & set(values)
    others = [space.name for space in MANY.optimizers if space.name != chosen]
    assert not [name for name in values if name.split("/")[0] in others]


@pytest.mark.parametrize("seed", range(12))
def test_a_schedule_is_active_only_with_an_optimizer_that_takes_one(seed):
    hp = drawn(MANY, seed)
    is_free = hp.values["optimizer"] in UNSCHEDULED
    assert hp.is_active("schedule") == (not is_free)
    assert ("schedule" in hp.values) == (not is_free)
    rate = MANY.declare(hp).arguments["learning_rate"]
    if is_free:
        assert isinstance(rate, float)
        assert not [name for name in hp.values if name.split("/")[0] in SCHEDULES]
    else:
        active = {name.split("/")[0] for name in hp.values} & set(SCHEDULES)
        assert active == {hp.values["schedule"]}


def test_all_scopes_are_declared_at_once():
    hp = keras_tuner.HyperParameters()
    MANY.declare(hp)
    before = [entry.name for entry in hp.space]
    for seed in range(5):
        again = drawn(MANY, seed)
        MANY.declare(again)
        assert [entry.name for entry in again.space] == before == MANY.names
    assert len(set(before)) == len(before)


def test_settings_after_a_journey_through_json_are_the_same():
    hp = drawn(MANY, 3)
    again = keras_tuner.HyperParameters.from_config(json.loads(json.dumps(hp.get_config())))
    first, second = (MANY.declare(x).make_optimizer().get_config() for x in (hp, again))
    assert first | {"name": ""} == second | {"name": ""}


def test_maybe_is_zero_when_it_is_off_and_its_range_is_inactive():
    space = SearchSpace(l2=Maybe(Float(1e-6, 1e-2, **LOG)), l1=Maybe(0.5), dropout=Maybe(0.1, otherwise=None))
    hp = space.hyperparameters()
    assert space.declare(hp).values == {"l1": 0.0, "l2": 0.0, "dropout": None}
    assert not hp.is_active("l2")
    assert "l2" not in hp.values
    hp.values |= {"l2/on": True, "l2": 3e-4, "l1/on": True, "l1": 0.5}
    assert space.declare(hp).values == {"l1": 0.5, "l2": 3e-4, "dropout": None}


def test_the_default_space_asks_for_nothing_that_a_model_or_data_may_lack():
    space = SearchSpace.default()
    assert not space.ranges
    kinds = set()
    for seed in range(20):
        made = space.declare(drawn(space, seed)).make_optimizer()
        kinds.add((type(made).__name__, type(made._learning_rate.schedule).__name__))
    assert kinds == {(method, shape) for method in ("AdamW", "SGD") for shape in ("Constant", "CosineDecay")}
    changed = SearchSpace.default(optimizer="lion", batch_size=Choice([32, 64]))
    assert [optimizer.name for optimizer in changed.optimizers] == ["Lion"]
    assert changed.largest("batch_size") == 64
    assert changed.schedules


def test_ranges_for_all_optimizers_go_to_those_that_have_the_argument():
    own = OptimizerSpace("lion", learning_rate=3e-4)
    space = SearchSpace(optimizer=["sgd", "adam", own], learning_rate=0.25, momentum=Float(0.5, 0.75), weight_decay=0.1)
    sgd, adam, lion = space.optimizers
    assert sgd.ranges == {"learning_rate": 0.25, "momentum": Float(0.5, 0.75), "nesterov": True, "weight_decay": 0.1}
    assert adam.ranges["learning_rate"] == 0.25
    assert "momentum" not in adam.ranges
    assert lion.ranges["learning_rate"] == 3e-4
    assert lion.ranges["weight_decay"] == 0.1


def test_none_takes_a_range_away():
    assert "beta_2" in OptimizerSpace("adam").ranges
    assert "beta_2" not in OptimizerSpace("adam", beta_2=None).ranges


def test_nesterov_is_left_out_where_momentum_may_be_zero():
    assert OptimizerSpace("sgd").ranges["nesterov"] is True
    assert "nesterov" not in OptimizerSpace("sgd", momentum=Choice([0.0, 0.9])).ranges
    assert "nesterov" not in OptimizerSpace("sgdw", momentum=Maybe(0.9)).ranges


def test_what_keras_tuner_cannot_hold_is_handed_on():
    group = kopt.optimizers.Group("bias$", weight_decay=0.0)
    space = SearchSpace(optimizer=OptimizerSpace("adamw", groups=[group]))
    assert space.declare(space.hyperparameters()).make_optimizer().groups[0] is group
    assert "AdamW/groups" not in space.names


def test_classes_and_functions_of_the_user_are_taken():
    class Own(kopt.optimizers.SGD):
        pass

    def halved(learning_rate, factor):
        return kopt.schedules.Constant(learning_rate * factor)

    space = SearchSpace(
        optimizer=[OptimizerSpace(Own, momentum=Float(0.1, 0.2)), keras.optimizers.Ftrl],
        schedule=ScheduleSpace(halved, factor=0.5),
    )
    assert space.names == [
        "optimizer", "Own/learning_rate", "Own/momentum", "keras.Ftrl/learning_rate", "schedule", "halved/factor"
    ]  # fmt: skip
    hp = space.hyperparameters()
    hp.values["Own/learning_rate"] = 0.03
    made = space.declare(hp).make_optimizer()
    assert type(made) is Own
    np.testing.assert_allclose(ops.convert_to_numpy(made.learning_rate), 0.015, rtol=1e-6)


# Optimizers and schedules


def test_every_named_optimizer_has_ranges():
    named = {
        name
        for name, kind in vars(kopt.optimizers).items()
        if inspect.isclass(kind) and issubclass(kind, kopt.optimizers.ComposedOptimizer)
    }
    assert set(OPTIMIZERS) == named - {"Composed", "ComposedOptimizer"}
    assert set(OPTIMIZERS) >= UNSCHEDULED


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_usual_ranges_of_an_optimizer_hold_its_default(name):
    space = SearchSpace(optimizer=name.lower())
    (optimizer,) = space.optimizers
    assert optimizer.name == name
    hp = space.hyperparameters()
    made = space.declare(hp).make_optimizer()
    assert type(made) is getattr(kopt.optimizers, name)
    rate = optimizer.ranges["learning_rate"]
    if isinstance(rate, Float):
        assert rate.sampling == "log"
        assert rate.max_value / rate.min_value >= 30
        assert rate.min_value < hp.values[f"{name}/learning_rate"] < rate.max_value
    else:
        assert rate == 1.0


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("end", ["smallest", "largest", "default"])
def test_every_schedule_reaches_the_rate_in_a_run_and_never_leaves_it(name, end):
    space = ScheduleSpace(name)
    arguments = {
        argument: values if not hasattr(values, "smallest") else values.default if end == "default" else
        getattr(values, end)() for argument, values in space.ranges.items()
    }  # fmt: skip
    made = space.make(0.5, arguments)
    if isinstance(made, float):
        assert (name, made) == ("Constant", 0.5)
        return
    kopt.schedules.resolve(made, 4, 50)
    rates = np.array([float(ops.convert_to_numpy(made(step))) for step in range(200)])
    assert rates.max() <= 0.5 * (1 + 1e-6)
    # A warm-up of a fifth of the run meets schedules that have come down by then: some a long way.
    assert rates.max() > {"InverseTime": 0.02, "ExponentialDecay": 0.1, "Polynomial": 0.2}.get(name, 0.35)
    assert rates.min() >= 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("AdamW", kopt.optimizers.AdamW), ("adamw", kopt.optimizers.AdamW), ("lamb", kopt.optimizers.LAMB),
        ("keras.AdamW", keras.optimizers.AdamW), ("ftrl", keras.optimizers.Ftrl),
        (keras.optimizers.SGD, keras.optimizers.SGD), (kopt.optimizers.SGD, kopt.optimizers.SGD),
    ],
)  # fmt: skip
def test_optimizers_are_found_by_name_and_class(name, kind):
    assert OptimizerSpace(name).kind is kind


# Ranges


@pytest.mark.parametrize(
    "made",
    [Float(0.1, 0.5, step=0.2), Float(1e-3, 1.0, default=0.1, **LOG), Int(2, 9), Int(2, 32, step=2, **LOG),
     Choice([1, 2]), Choice(["a", "b"], default="b"), Choice([True, False]), Float(1, 2)],
)  # fmt: skip
def test_a_range_draws_what_it_says(made):
    hp = keras_tuner.HyperParameters()
    made.declare(hp, "x")
    (entry,) = hp.space
    values = [entry.random_sample(seed) for seed in range(50)]
    assert min(values) >= made.smallest()
    assert max(values) <= made.largest()
    assert len(set(values)) > 1
    assert type(made).from_config(made.get_config()) == made
    assert made != Choice([5, 6])
    assert eval(repr(made)) == made
    if made.default is not None:
        assert hp.values["x"] == made.default


def test_choices_keep_their_kind():
    hp = keras_tuner.HyperParameters()
    assert Choice([True, False], default=False).declare(hp, "a") is False
    assert Choice([0, 0.5]).declare(hp, "b") == 0.0
    assert [type(entry).__name__ for entry in hp.space] == ["Boolean", "Choice"]
    assert [type(value) for value in hp.space[1].values] == [float, float]


# The table


def test_the_table_says_name_kind_range_scale_and_condition():
    lines = {line.split()[0]: " ".join(line.split()) for line in str(MANY).splitlines()}
    assert lines["name"] == "name kind range scale default condition"
    scheduled = "optimizer in AdamW, SGD, keras.RMSprop, Prodigy"
    for row in [
        "AdamW/learning_rate float 0.0001 to 0.01 log 0.001 optimizer = AdamW",
        "SGD/momentum choice 0.8, 0.9, 0.95, 0.98 ordered 0.9 optimizer = SGD",
        f"schedule choice Constant, CosineDecay, WarmupStableDecay, StepDecay Constant {scheduled}",
        f"StepDecay/decay_rate fixed 0.2 0.2 {scheduled} and schedule = StepDecay",
        "clipping/global_clipnorm float 0.1 to 10 log 0.1 clipping = global_clipnorm",
        "l2/on switch on, off off",
        "l2 float 1e-06 to 0.01 log 1e-06 l2/on = on",
        "batch_size int 8 to 64 log, step x2 8",
    ]:
        assert lines[row.split()[0]] == row
    assert len(lines) == len(MANY.names) + 2


def test_rich_prints_the_same_table():
    console = rich.console.Console(file=io.StringIO(), width=250)
    console.print(MANY)
    text = console.file.getvalue()
    assert all(name in text for name in MANY.names)
    assert "[" not in text.split("name")[0]


PAGE = (Path(__file__).parents[1] / "docs" / "search-space.md").read_text()
CELLS = [cell for line in PAGE.splitlines() if line.startswith("| ") for cell in re.findall("`(\\w+=[^`]+)`", line)]


def test_the_page_shows_the_default_space():
    assert str(SearchSpace.default()) in PAGE
    assert len(CELLS) > 15


@pytest.mark.parametrize("cell", CELLS)
def test_what_the_page_prints_can_be_given(cell):
    ranges = {kind.__name__: kind for kind in (Choice, Float, Int, Maybe, OptimizerSpace, ScheduleSpace)}
    given = eval(
        f"dict({cell.replace('=...', '=0.25')})",
        ranges | {"keras": keras, "my_function": lambda learning_rate, power: learning_rate**power},
    )
    space = SearchSpace.default(**given)
    assert set(given) <= {
        *space.ranges,
        "optimizer",
        "schedule",
        "clipping",
        "learning_rate",
        "weight_decay",
        "momentum",
    }
    space.declare(space.hyperparameters()).make_optimizer()


# Label smoothing


class Smooth(keras.losses.Loss):
    def __init__(self, label_smoothing=0.0, name="smooth", **keywords):
        super().__init__(name=name, **keywords)
        self.label_smoothing = label_smoothing

    def get_config(self):
        return super().get_config() | {"label_smoothing": self.label_smoothing}


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        ("categorical_crossentropy", keras.losses.CategoricalCrossentropy),
        ("BinaryCrossentropy", keras.losses.BinaryCrossentropy),
        (keras.losses.binary_focal_crossentropy, keras.losses.BinaryFocalCrossentropy),
        (keras.losses.CategoricalFocalCrossentropy(gamma=3.0), keras.losses.CategoricalFocalCrossentropy),
        (Smooth, Smooth),
        (Smooth(label_smoothing=0.4), Smooth),
        (lambda label_smoothing: Smooth(label_smoothing), Smooth),
    ],
)
def test_losses_are_smoothed(loss, kind):
    made = smoothed(loss, 0.2)
    assert type(made) is kind
    config = made.get_config()
    assert config["label_smoothing"] == 0.2
    if kind is keras.losses.CategoricalFocalCrossentropy:
        assert config["gamma"] == 3.0


def test_of_several_losses_those_are_smoothed_that_can_be():
    made = smoothed({"a": "mse", "b": "categorical_crossentropy"}, 0.2)
    assert made["a"] == "mse"
    assert made["b"].get_config()["label_smoothing"] == 0.2
