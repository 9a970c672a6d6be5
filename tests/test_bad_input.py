"""Bad calls and what they raise: each message names the argument, the rule and what was received."""

import inspect
import re

import catalog
import keras
import numpy as np
import pytest

from kopt import optimizers, schedules, transforms
from kopt.optimizers.plan import merged

ROWS_OF_THEIR_OWN = {"groups", "before", "after", "transforms", "match", "name"}


def arguments():
    """Yields each public class with each name that its constructor takes."""
    optimizer_classes = list(dict.fromkeys(case.optimizer_class for case in catalog.CASES))
    schedule_classes = list(dict.fromkeys(case.schedule_class for case in catalog.SCHEDULE_CASES))
    members = [getattr(transforms, name) for name in transforms.__all__]
    transform_classes = [m for m in members if issubclass(m, transforms.Transform) and m is not transforms.Transform]
    for kind in [*optimizer_classes, *schedule_classes, *transform_classes, optimizers.Group]:
        explicit = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is not p.VAR_KEYWORD]
        for name in dict.fromkeys([*explicit, *kind.keyword_names]):
            yield pytest.param(kind, name, id=f"{kind.__name__}-{name}")


@pytest.mark.parametrize(("kind", "name"), list(arguments()))
def test_every_argument_keeps_its_rule(kind, name):
    if name in ROWS_OF_THEIR_OWN:
        assert name not in catalog.RULES
        return
    rule, bad_values = catalog.RULES.get(f"{kind.__name__}.{name}") or catalog.RULES[name]
    needed = [p.name for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    good = {n: catalog.GOOD[n] for n in needed if n in catalog.GOOD}
    kind(**good)
    for value in bad_values:
        with pytest.raises(ValueError, match="Received") as caught:
            kind(**{**good, name: value})
        start = f"`{name}` must be {rule}. Received: {name}={value!r}."
        assert str(caught.value).startswith(start)


def test_the_cross_of_classes_and_arguments_is_not_empty():
    assert len(list(arguments())) > 80


TRANSFORMS = "a list of kopt.transforms.Transform instances"
GROUPS = "a list of kopt.optimizers.Group instances"
# call, argument, rule, what was received, advice
VALUE_ERRORS = [
    ("SGD(CosineDecay)", "learning_rate", "an instance of a schedule", "<class '.*CosineDecay'>", "Call it: Cosine"),
    ("Adam(Momentum(0.9))", "learning_rate", "a finite number >= 0", "<kopt.*Momentum object .*>", ""),
    ("Adam(None)", "learning_rate", "a finite number >= 0", "None", ""),
    ("SGD(np.array([0.1, 0.2]))", "learning_rate", "a finite number >= 0", r"array\(\[0.1, 0.2\]\)", ""),
    ("Composed([Momentum])", "transforms", TRANSFORMS, "<class '.*Momentum'>", r"Call it: Momentum\(...\)"),
    ("Composed(Momentum(0.9))", "transforms", TRANSFORMS, "<kopt.*Momentum object .*>", ""),
    ("Composed('momentum')", "transforms", TRANSFORMS, "'momentum'", ""),
    ("Composed(['momentum'])", "transforms", TRANSFORMS, "'momentum'", ""),
    ("Composed([SGD(0.1)])", "transforms", TRANSFORMS, "<kopt.*SGD object .*>", ""),
    ("Composed([M, M])", "transforms", f"{TRANSFORMS}, each used once", r"\[<.*>, <.*>\]", "Make a second instance"),
    ("SGD(before='clip')", "before", TRANSFORMS, "'clip'", ""),
    ("SGD(before=[ClipByNorm])", "before", TRANSFORMS, "<class '.*ClipByNorm'>", "Call it: ClipByNorm"),
    ("SGD(before=ClipByNorm(1.0))", "before", TRANSFORMS, "<kopt.*ClipByNorm object .*>", ""),
    ("SGD(before=[M, M])", "before", f"{TRANSFORMS}, each used once", r"\[<.*>, <.*>\]", "Make a second instance"),
    ("AdamW(after=[0.5])", "after", TRANSFORMS, "0.5", ""),
    ("AdamW(after={'a': M})", "after", TRANSFORMS, "{'a': <.*>}", ""),
    ("RMSprop(groups='bias')", "groups", GROUPS, "'bias'", ""),
    ("RMSprop(groups=Group('bias'))", "groups", GROUPS, "<kopt.*Group object .*>", ""),
    ("RMSprop(groups=[Group])", "groups", GROUPS, "<class '.*Group'>", r"Call it: Group\(...\)"),
    ("RMSprop(groups=[('bias', 0.1)])", "groups", GROUPS, r"\('bias', 0.1\)", ""),
    ("RMSprop(groups=[G, G])", "groups", f"{GROUPS}, each used once", r"\[<.*>, <.*>\]", "Make a second instance"),
    ("Group('k', transforms=[Momentum])", "transforms", TRANSFORMS, "<class '.*Momentum'>", "Call it: Momentum"),
    ("Group('k', transforms='abc')", "transforms", TRANSFORMS, "'abc'", ""),
    ("Group('k', Constant(0.1))", "learning_rate", "a finite number >= 0", "<.*Constant .*>", "In a group it is a fac"),
    ("Group('kernel[')", "match", r"a valid regular expression (unterminated .* position 6)", r"'kernel\['", ""),
    ("Warmup(CosineDecay, 5)", "schedule", "an instance of a schedule", "<class '.*CosineDecay'>", "Call it: Cosine"),
    ("Warmup(lambda step: 0.1, 5)", "schedule", "a schedule or a number", "<function .*>", ""),
    ("preview(CosineDecay, 5)", "schedule", "an instance of a schedule", "<class '.*CosineDecay'>", "Call it: Cosine"),
    ("preview('cosine', 5)", "schedule", "a schedule or a number", "'cosine'", ""),
    ("preview(0.1, 0)", "steps", "an integer >= 1", "0", ""),
    ("plot([CosineDecay], 5)", "schedule", "an instance of a schedule", "<class '.*CosineDecay'>", "Call it: Cosine"),
    ("plot(0.1, 2.5)", "steps", "an integer >= 1", "2.5", ""),
    ("unbuilt.exclude_from_weight_decay(var_names=['('])", "var_names", "a valid regular expression (.*)", r"'\('", ""),
    ("from_config(SGD, learning_rate=-1.0)", "learning_rate", "a finite number >= 0", "-1.0", ""),
]

# call, exception, what the message says
OTHER_ERRORS = [
    ("SGD(0.1, nesterov=True)", ValueError, r"`nesterov=True` needs `momentum` > 0\. Received: momentum=0\.0\."),
    (
        "SGD(clipnorm=1.0, clipvalue=2.0)",
        ValueError,
        r"Only one of `clipnorm`, `clipvalue` and `global_clipnorm`.*Received: {'clipnorm': 1\.0, 'clipvalue': 2\.0}",
    ),
    (
        "AdamW(clipnorm=1.0, global_clipnorm=2.0)",
        ValueError,
        r"Only one of .*Received: {'clipnorm': 1\.0, 'global_clipnorm': 2\.0}",
    ),
    ("SGD(before=[M], after=[M])", ValueError, "`before`, `after` and the groups' `transforms` must hold different"),
    ("Composed([M], before=[M])", ValueError, "must hold different instances"),
    (
        "SGD(groups=[Group('k', transforms=[M]), Group('b', transforms=[M])])",
        ValueError,
        "must hold different instances.*To serve all variables, put it in `before` or `after`",
    ),
    ("Group(5)", TypeError, r"`match` must be a regular expression \(a string\) or a callable.*Received: match=5\."),
    ("Group(None)", TypeError, r"`match` must be .*Received: match=None\."),
    ("Group(b'bias')", TypeError, r"`match` must be .*Received: match=b'bias'\."),
    ("SGD(momemtum=0.9)", TypeError, r"SGD has no argument `momemtum`\. Did you mean `momentum`\?"),
    ("Adam(beta1=0.9)", TypeError, r"Adam has no argument `beta1`\. Did you mean `beta_1`\?.*beta_1, beta_2, epsilon"),
    ("AdamW(clip_norm=0.9)", TypeError, r"AdamW has no argument `clip_norm`\. Did you mean `clipnorm`\?"),
    ("RMSprop(centred=True)", TypeError, r"RMSprop has no argument `centred`\. Did you mean `centered`\?"),
    (
        "Composed([], learning_rat=1)",
        TypeError,
        r"Composed has no argument `learning_rat`\. Did you mean `learning_rate`",
    ),
    ("SGD(xyz=1)", TypeError, r"SGD has no argument `xyz`\. Its arguments are: learning_rate, momentum, nesterov"),
    ("Group('k', weight_deacy=1)", TypeError, r"Group has no argument `weight_deacy`\. Did you mean `weight_decay`\?"),
    ("ScaleByAdam(beta1=1)", TypeError, r"ScaleByAdam has no argument `beta1`\. Did you mean `beta_1`\?"),
    ("ClipByValue(limits=1)", TypeError, r"ClipByValue has no argument `limits`\. Did you mean `limit`\?"),
    ("CosineDecay(0.1, 10, alpa=1)", TypeError, r"CosineDecay has no argument `alpa`\. Did you mean `alpha`\?"),
    ("Warmup(0.1, step=5)", TypeError, r"Warmup has no argument `step`\. Did you mean `steps`\?"),
    ("from_config(SGD, momentun=1)", TypeError, r"SGD has no argument `momentun`\. Did you mean `momentum`\?"),
    ("CosineDecay(0.1)", TypeError, "missing a required argument: 'decay_steps'"),
    ("ClipByGlobalNorm()", TypeError, "missing a required argument: 'limit'"),
    ("SGD(0.1, 0.9, True)", TypeError, "too many positional arguments"),
    ("SGD(name=5)", ValueError, "`name` must be a string.*Received: name=5"),
    (
        "unbuilt.pure_step([], [], [], 0)",
        ValueError,
        r"`pure_step` needs the optimizer to be built\. Call `optimizer.bui",
    ),
    (
        "built(SGD()).update_step(None, None, None)",
        RuntimeError,
        r"SGD updates all variables together\. Call `apply\(gradients, variables\)` instead of `update_step`",
    ),
    (
        "built(SGD()).exclude_from_weight_decay(var_names=['bias'])",
        ValueError,
        "`exclude_from_weight_decay` must be called before the optimizer is built",
    ),
    (
        "built(SGD(groups=[Group('bias'), Group('encoder/')]))",
        ValueError,
        r"`groups` must be groups that each match at least one .*Received: groups='encoder/'\. "
        r"The variables' paths are:\n  dense/kernel\n  dense/bias$",
    ),
    (
        "built(SGD(groups=[Group(lambda variable: False, name='nobody')]))",
        ValueError,
        r"Received: groups='nobody'\..*\n  dense/kernel",
    ),
    ("Transform()", TypeError, "abstract"),
    ("Schedule()(0)", NotImplementedError, r"Schedule must define `value\(step\)`"),
]


# Arguments that contradict each other or would be ignored, and what would be misread without a word.
CONTRADICTIONS = [
    ("Composed(None)", ValueError, "`transforms` must be a list of .*Received: transforms=None"),
    ("unbuilt.exclude_from_weight_decay(var_names='bias')", ValueError, "`var_names` must be .*Received: .*'bias'"),
    ("unbuilt.exclude_from_weight_decay(var_names=[5])", ValueError, "`var_names` must be .*Received: .*5"),
    ("Composed([ScaleByLearningRate()], weight_decay=0.5)", ValueError, "`weight_decay`.*0.5"),
    ("Composed([AddDecayedWeights(0.1)], weight_decay=0.5)", ValueError, "`weight_decay`.*0.5"),
    (
        "SGD(ema_overwrite_frequency=3)",
        ValueError,
        "`ema_overwrite_frequency` must be None unless `use_ema=True`. Received: ema_overwrite_frequency=3",
    ),
    ("Warmup(-0.1, 5)", ValueError, "`schedule` must be .*Received: schedule=-0.1"),
    ("SGD(before=[M], after=[M])", ValueError, "Received: "),
    ("unbuilt.slot_variables", ValueError, "needs the optimizer to be built"),
]


def built(optimizer):
    layer = keras.layers.Dense(3, name="dense")
    layer.build((None, 2))
    optimizer.build(layer.trainable_variables)
    return optimizer


def from_config(kind, **changes):
    return kind.from_config({**kind().get_config(), **changes})


def evaluated(call):
    """Runs a call that is written as text, so that the table's rows are their own names."""
    names = {name: getattr(face, name) for face in (optimizers, schedules, transforms) for name in face.__all__}
    names |= {"np": np, "built": built, "from_config": from_config}
    names |= {"M": transforms.Momentum(0.9), "G": optimizers.Group("bias"), "unbuilt": optimizers.SGD(0.1)}
    return eval(call, names)


@pytest.mark.parametrize(
    ("call", "argument", "rule", "received", "advice"), [pytest.param(*row, id=row[0]) for row in VALUE_ERRORS]
)
def test_bad_value(call, argument, rule, received, advice):
    rule = re.escape(rule).replace(r"\.\*", ".*")
    with pytest.raises(
        ValueError, match=rf"^`{argument}` must be {rule}\. Received: {argument}={received}\."
    ) as caught:
        evaluated(call)
    assert re.search(advice, str(caught.value))


@pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*row, id=row[0]) for row in OTHER_ERRORS])
def test_bad_call(call, error, message):
    with pytest.raises(error, match=f"(?s){message}") as caught:
        evaluated(call)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [pytest.param(*row, id=row[0]) for row in CONTRADICTIONS],
)
def test_contradiction(call, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        evaluated(call)


def test_opposite_orders_in_two_chains_are_refused():
    first, second = transforms.Momentum(0.5), transforms.Momentum(0.6)
    with pytest.raises(ValueError, match="in opposite orders: give each group its own"):
        list(merged({0: [first, second], 1: [second, first]}))
