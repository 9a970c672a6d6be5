"""Are chains that make no sense told to the user, and only those?"""

import warnings

import pytest
from catalog import CASES

from kopt import optimizers, transforms

Rate, Lookahead = transforms.ScaleByLearningRate, transforms.Lookahead
SENSELESS = [
    (lambda: optimizers.AdamW(after=[Lookahead(), Lookahead(5)]), "Two `Lookahead`"),
    (lambda: optimizers.Composed([Rate(), transforms.ClipByNorm(1.0)]), "`ClipByNorm` stands behind"),
    (lambda: optimizers.Composed([Rate(), transforms.Momentum(), Rate()]), "applied twice"),
    (lambda: optimizers.AdamW(1.0, after=[transforms.Mechanic(), Lookahead()]), "moves them back each time"),
    (lambda: optimizers.AdamW(1.0, after=[Lookahead(), transforms.Mechanic()]), "averages weights that the model"),
    (lambda: optimizers.AdamW(after=[Lookahead(), transforms.Freeze("a")]), "`Freeze` changes the step behind"),
    (lambda: optimizers.SGD(before=[Lookahead()]), "in front of the learning rate"),
    (lambda: optimizers.AdamW(before=[transforms.Cautious()]), "does nothing"),
    (
        lambda: optimizers.AdamW(groups=[optimizers.Group("a", transforms=[Rate(), transforms.ClipByValue(1.0)])]),
        "`ClipByValue` stands behind",
    ),
]


@pytest.mark.parametrize(("make", "words"), SENSELESS, ids=[words for _, words in SENSELESS])
def test_a_senseless_order_warns_once(make, words):
    with pytest.warns(UserWarning, match=words) as seen:
        make()
    assert len(seen) == 1
    assert seen[0].filename == __file__


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_rows_of_the_catalogue_make_sense(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        case.make()


SENSIBLE = [
    lambda: optimizers.AdamW(after=[transforms.Cautious(), Lookahead(), transforms.ExponentialMovingAverage()]),
    lambda: optimizers.AdamW(after=[transforms.Freeze("a"), transforms.Mechanic(), transforms.SkipNonFinite()]),
    lambda: optimizers.SGD(0.1, after=[transforms.Mechanic(), transforms.StochasticWeightAveraging(3)]),
    lambda: optimizers.SGD(0.1, before=[transforms.AddNoise(), transforms.ClipByNorm(1.0)]),
]


@pytest.mark.parametrize("make", SENSIBLE)
def test_a_sensible_order_does_not_warn(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make()
