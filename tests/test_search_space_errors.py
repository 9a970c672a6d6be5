"""What search spaces refuse, and what they say."""

import pytest

import kopt
from kopt.tuning import Choice, Float, Int, Maybe, OptimizerSpace, ScheduleSpace, SearchSpace
from kopt.tuning.space.smoothing import smoothed

LOG = {"sampling": "log"}

BAD = {
    "empty": (lambda: SearchSpace(), "something to search"),
    "min > max": (lambda: Float(1.0, 0.5), "min_value.*at most.*max_value.*Received: min_value=1.0"),
    "int min > max": (lambda: Int(5, 3), "min_value.*at most"),
    "log at 0": (lambda: Float(0.0, 1.0, **LOG), "min_value.*> 0.*Maybe"),
    "int log at 0": (lambda: Int(0, 8, **LOG), "min_value.*> 0"),
    "reverse log at 0": (lambda: Float(0.0, 1.0, sampling="reverse_log"), "min_value.*> 0"),
    "unknown sampling": (lambda: Float(0.1, 1.0, sampling="lg"), "sampling"),
    "factor of a log scale": (lambda: Float(0.1, 1.0, step=0.5, **LOG), "step.*factor > 1"),
    "infinite": (lambda: Float(0.0, float("inf")), "max_value.*finite"),
    "default outside": (lambda: Float(0.0, 1.0, default=2.0), "default.*in \\[0.0, 1.0\\]"),
    "int of floats": (lambda: Int(0.5, 3), "min_value.*an integer"),
    "no values": (lambda: Choice([]), "values"),
    "mixed values": (lambda: Choice(["a", 1]), "values.*all"),
    "same values": (lambda: Choice([1, 1]), "values.*different"),
    "default of a choice": (lambda: Choice([1, 2], default=3), "default.*one of"),
    "unknown optimizer": (lambda: SearchSpace(optimizer="adamx"), "Did you mean.*'Adam"),
    "misspelt optimizer": (lambda: SearchSpace(optimizer="schedulefreadam"), "Did you mean.*'ScheduleFreeAdamW'"),
    "optimizer instance": (lambda: SearchSpace(optimizer=kopt.optimizers.Adam()), "Give the class, `Adam`"),
    "no optimizer": (lambda: SearchSpace(optimizer=3), "optimizer.*name or class"),
    "chain": (lambda: SearchSpace(optimizer=kopt.optimizers.Composed), "class with a recipe"),
    "unknown schedule": (lambda: SearchSpace(optimizer="adam", schedule="cosine_decy"), "Did you mean.*'CosineDecay'"),
    "duplicate optimizer": (lambda: SearchSpace(optimizer=["adam", "Adam"]), "different names.*'Adam'"),
    "duplicate schedule": (lambda: SearchSpace(optimizer="adam", schedule=["REX", "rex"]), "different names.*'REX'"),
    "two parts of one name": (
        lambda: SearchSpace(
            optimizer=OptimizerSpace("adam", name="a", beta_2=None),
            schedule=ScheduleSpace(lambda rate, learning_rate: rate, name="a", learning_rate=Float(0, 1)),
        ),
        "different names.*'a'",
    ),
    "name of a number": (lambda: SearchSpace(optimizer=OptimizerSpace("adam", name="l2")), "different names.*'l2'"),
    "slash in a name": (lambda: OptimizerSpace("adam", name="a/b"), "name.*without `/`"),
    "schedule alone": (lambda: SearchSpace(schedule="rex", l2=0.1), "schedule.*optimizer"),
    "clipping alone": (lambda: SearchSpace(clipping={"clipnorm": 1.0}, l2=0.1), "clipping.*optimizer"),
    "schedule of schedule-free": (lambda: SearchSpace(optimizer="schedulefreesgd", schedule="rex"), "schedule.*None"),
    "schedule without rate": (
        lambda: SearchSpace(optimizer=OptimizerSpace("adam", learning_rate=None), schedule="rex"),
        "learning_rate.*ranges of Adam",
    ),
    "unknown clipping": (lambda: SearchSpace(optimizer="adam", clipping={"norm": 1.0}), "clipping.*'global_clipnorm'"),
    "clipping at 0": (lambda: SearchSpace(optimizer="adam", clipping={"clipnorm": Float(0, 1)}), "clipnorm.*> 0"),
    "momentum for none": (lambda: SearchSpace(optimizer="adam", momentum=0.9), "momentum.*optimizer.*has it"),
    "momentum of 1": (lambda: SearchSpace(optimizer="sgd", momentum=Float(0.5, 1.0)), "momentum.*\\[0, 1\\)"),
    "beta of 1": (lambda: OptimizerSpace("adam", beta_2=Float(0.9, 1.0)), "beta_2"),
    "rate below 0": (lambda: OptimizerSpace("adam", learning_rate=Float(-1.0, 1.0)), "learning_rate.*>= 0"),
    "what the optimizer refuses": (lambda: OptimizerSpace("rmsprop", centered="yes"), "centered"),
    "nesterov without momentum": (
        lambda: OptimizerSpace("sgd", momentum=Choice([0.0, 0.9]), nesterov=True), "nesterov.*needs `momentum`"),
    "what the schedule refuses": (lambda: ScheduleSpace("CosineDecay", alpha=Float(0.0, 2.0)), "alpha"),
    "too long phases": (
        lambda: ScheduleSpace("WarmupStableDecay", warmup_steps=Float(0, 0.6), decay_steps=0.6), "decay_steps"),
    "warmup in steps": (lambda: ScheduleSpace("rex", warmup=Int(0, 100)), "warmup"),
    "l2 below 0": (lambda: SearchSpace(l2=Float(-1.0, 1.0)), "l2.*>= 0"),
    "dropout of 1": (lambda: SearchSpace(dropout=Float(0.0, 1.0)), "dropout"),
    "smoothing of 1": (lambda: SearchSpace(label_smoothing=Choice([0.0, 1.0])), "label_smoothing"),
    "batch size 0": (lambda: SearchSpace(batch_size=Choice([0, 1])), "batch_size"),
    "class, not range": (lambda: SearchSpace(l2=Float), "l2.*Call it: Float"),
    "maybe maybe": (lambda: Maybe(Maybe(0.1)), "values"),
    "loss without smoothing": (lambda: smoothed("mse", 0.1), "loss.*label smoothing.*categorical"),
    "losses without smoothing": (lambda: smoothed(["mse", "mae"], 0.1), "loss.*label smoothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_a_reason(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerSpace("adam", beta2=0.9), "Did you mean `beta_2`"),
        (lambda: OptimizerSpace("keras.Adam", beta2=0.9), "Did you mean `beta_2`"),
        (lambda: ScheduleSpace("CosineDecay", warmups=0.1), "Did you mean `warmup`"),
        (lambda: SearchSpace(dropuot=0.1), "dropuot"),
    ],
)
def test_a_misspelt_argument_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
