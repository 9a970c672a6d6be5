"""Bad lengths, boundaries and operands of schedules, and what they raise."""

import re

import pytest
from test_bad_input import evaluated

STEPS = "a list of one or more integers >= 1, each larger than the one before"
SHARES = "a list of one or more numbers in (0, 1], each larger than the one before"
SHARE = 'a number in (0, 1], as `by` is "fraction"'
SHARE_OR_NONE = 'a number in [0, 1], as `by` is "fraction"'
OPTIMIZER = "an optimizer of kopt or Keras, a schedule, or a model"
# call, argument, rule, what was received, advice
ROWS = [
    ("CosineDecay(0.1, 0.5)", "decay_steps", "an integer >= 1", "0.5", 'With `by="fraction"` it is a share of the run'),
    ("CosineDecay(0.1, 0.0)", "decay_steps", "an integer >= 1", "0.0", ""),
    ("CosineDecay(0.1, 1.5)", "decay_steps", "an integer >= 1", "1.5", ""),
    ("CosineDecay(0.1, 10, by='fraction')", "decay_steps", SHARE, "10", ""),
    ("CosineDecay(0.1, 0, by='fraction')", "decay_steps", SHARE, "0", ""),
    ("CosineDecay(0.1, -0.5, by='fraction')", "decay_steps", SHARE, "-0.5", ""),
    ("CosineDecay(0.1, True, by='fraction')", "decay_steps", SHARE, "True", ""),
    ("CosineDecay(0.1, float('nan'), by='fraction')", "decay_steps", SHARE, "nan", ""),
    ("CosineDecay(0.1, '0.5', by='fraction')", "decay_steps", SHARE, "'0.5'", ""),
    ("StepDecay(0.1, 1.01, by='fraction')", "decay_steps", SHARE, "1.01", ""),
    ("Warmup(0.1, 5, by='fraction')", "steps", SHARE, "5", ""),
    ("Cyclic(0.1, 0.2, 0.5, 2, by='fraction')", "down_steps", SHARE, "2", ""),
    ("Cyclic(0.3, 0.2, 5)", "max_learning_rate", "at least `initial_learning_rate`, which is 0.3", "0.2", ""),
    ("Cyclic(0.1, 0.2, 5, decay_rate=0.9)", "decay_rate", 'given with `mode="exp_range"`, and only with it', "0.9", ""),
    (
        "Cyclic(0.1, 0.2, 5, mode='exp_range')",
        "decay_rate",
        'given with `mode="exp_range"`, and only with it',
        "None",
        "",
    ),
    ("OneCycle(0.1, 20, 0.51, three_phase=True)", "pct_start", "at most 0.5 if `three_phase=True`", "0.51", ""),
    ("WarmupStableDecay(0.1, -0.1, 0.5, 0.5, by='fraction')", "warmup_steps", SHARE_OR_NONE, "-0.1", ""),
    ("WarmupStableDecay(0.1, 0.1, 1.1, 0.5, by='fraction')", "stable_steps", SHARE_OR_NONE, "1.1", ""),
    ("WarmupStableDecay(0.1, 0.1, 0.5, 0, by='fraction')", "decay_steps", SHARE, "0", ""),
    (
        "WarmupStableDecay(0.1, 0.1, 0.6, 0.4, by='fraction')",
        "decay_steps",
        "at most what `warmup_steps` and `stable_steps` leave of the run",
        "0.4",
        "",
    ),
    ("MultiStep(0.1, 5)", "boundaries", STEPS, "5", ""),
    ("MultiStep(0.1, {3: 0.5})", "boundaries", STEPS, r"\{3: 0.5\}", ""),
    ("MultiStep(0.1, [3, 3])", "boundaries", STEPS, r"\[3, 3\]", ""),
    ("MultiStep(0.1, [5, 3])", "boundaries", STEPS, r"\[5, 3\]", ""),
    ("MultiStep(0.1, [0.5])", "boundaries", STEPS, r"\[0.5\]", ""),
    ("MultiStep(0.1, [0.5, 0.4], by='fraction')", "boundaries", SHARES, r"\[0.5, 0.4\]", ""),
    ("MultiStep(0.1, [0.5, 1.5], by='fraction')", "boundaries", SHARES, r"\[0.5, 1.5\]", ""),
    ("MultiStep(0.1, [0.0, 0.5], by='fraction')", "boundaries", SHARES, r"\[0.0, 0.5\]", ""),
    ("MultiStep(0.1, [], by='fraction')", "boundaries", SHARES, r"\[\]", ""),
    ("Join([0.1], [5])", "boundaries", "one fewer than the schedules, of which there are 1", r"\[5\]", ""),
    ("Join([0.1, 0.2], [5, 6])", "boundaries", "one fewer than the schedules, of which there are 2", r"\[5, 6\]", ""),
    ("Join([0.1, 0.2, 0.3], [5])", "boundaries", "one fewer than the schedules, of which there are 3", r"\[5\]", ""),
    ("Join([], [5])", "boundaries", "one fewer than the schedules, of which there are 0", r"\[5\]", ""),
    ("Join([0.1, 'up'], [5])", "schedules[1]", "a schedule or a number", "'up'", ""),
    (
        "Join([CosineDecay, 0.1], [5])",
        "schedules[0]",
        "an instance of a schedule",
        "<class '.*'>",
        "Call it: CosineDec",
    ),
    ("Join([0.1, -0.1], [5])", "schedules[1]", "a finite number >= 0", "-0.1", ""),
    ("Constant(0.1) + 'up'", "second", "a schedule or a number", "'up'", ""),
    ("True * Constant(0.1)", "first", "a schedule or a number", "True", ""),
    ("-2 * Constant(0.1)", "first", "a finite number >= 0", "-2.0", ""),
    ("Constant(0.1) / 0", "second", "a finite number > 0", "0.0", "Divide by a number"),
    ("Constant(0.1) / Constant(0.1)", "second", "a finite number > 0", "<.*Constant .*>", "Divide by a number"),
    ("minimum(CosineDecay, 0.1)", "first", "an instance of a schedule", "<class '.*'>", "Call it: CosineDecay"),
    ("maximum(0.1, None)", "second", "a schedule or a number", "None", ""),
    ("resolve('adam', 1, 1)", "optimizer", OPTIMIZER, "'adam'", ""),
    ("resolve(CosineDecay, 1, 1)", "optimizer", OPTIMIZER, "<class '.*'>", ""),
    ("resolve(SGD(), 0, 1)", "epochs", "an integer >= 1", "0", ""),
    ("resolve(SGD(), 1, 2.0)", "steps_per_epoch", "an integer >= 1", "2.0", "Data without a length"),
    ("resolve(SGD(), 1, None)", "steps_per_epoch", "an integer >= 1", "None", "here and in `fit`"),
]


@pytest.mark.parametrize(("call", "argument", "rule", "received", "advice"), [pytest.param(*r, id=r[0]) for r in ROWS])
def test_bad_value(call, argument, rule, received, advice):
    start = re.escape(f"`{argument}` must be {rule}. Received: {argument}=")
    with pytest.raises(ValueError, match=rf"^{start}{received}\.") as caught:
        evaluated(call)
    assert re.search(advice, str(caught.value))
    assert ("share of the run" in str(caught.value)) == ("share of the run" in advice)


def test_what_a_schedule_cannot_be_divided_into():
    with pytest.raises(TypeError, match="unsupported operand"):
        evaluated("1 / Constant(0.1)")
