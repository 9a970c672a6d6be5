"""Every wrapper around five optimizers: trained, saved, loaded, and trained on."""

import pytest

from kopt import optimizers, transforms
from kopt.testing import problems
from kopt.testing.training_checks import compiled, interrupted

WRAPPERS = {
    "clip_by_value": lambda: transforms.ClipByValue(0.5),
    "clip_by_norm": lambda: transforms.ClipByNorm(0.5),
    "clip_by_global_norm": lambda: transforms.ClipByGlobalNorm(0.5),
    "adaptive_clipping": lambda: transforms.AdaptiveGradientClipping(0.1),
    "centralized": transforms.CentralizeGradients,
    "noise": lambda: transforms.AddNoise(0.01, seed=3),
    "skip": transforms.SkipNonFinite,
    "zero": transforms.ZeroNonFinite,
    "grokfast": lambda: transforms.Grokfast(0.8, 0.5),
    "cautious": transforms.Cautious,
    "trust": transforms.TrustRatio,
    "lookahead": lambda: transforms.Lookahead(3),
    "average": lambda: transforms.ExponentialMovingAverage(0.8),
    "stochastic_average": lambda: transforms.StochasticWeightAveraging(2, 3),
    "mechanic": transforms.Mechanic,
    "freeze": lambda: transforms.Freeze("bias"),
    "plateau": transforms.ReduceOnPlateau,
    "unfreeze": lambda: transforms.Unfreeze({"kernel": 4}),
}
OPTIMIZERS = {
    "SGD": lambda **k: optimizers.SGD(0.02, momentum=0.9, weight_decay=0.1, **k),
    "AdamW": lambda **k: optimizers.AdamW(0.02, weight_decay=0.1, **k),
    "Muon": lambda **k: optimizers.Muon(0.02, **k),
    "SOAP": lambda **k: optimizers.SOAP(0.02, precondition_frequency=3, **k),
    "Prodigy": lambda **k: optimizers.Prodigy(d0=1e-3, **k),
}
IN_FRONT = {"clip_by_value", "clip_by_norm", "clip_by_global_norm", "adaptive_clipping", "centralized", "noise", "skip"}
IN_FRONT |= {"zero", "grokfast", "plateau"}
PAIRS = [(wrapper, name) for wrapper in WRAPPERS for name in OPTIMIZERS]
# Each wrapper once and each optimizer several times, in each run; all pairs in the full one.
CHOSEN = {(wrapper, list(OPTIMIZERS)[n % len(OPTIMIZERS)]) for n, wrapper in enumerate(WRAPPERS)}
ROWS = [pytest.param(*pair, marks=() if pair in CHOSEN else pytest.mark.slow) for pair in PAIRS]


def make(wrapper, name):
    return OPTIMIZERS[name](**{"before" if wrapper in IN_FRONT else "after": [WRAPPERS[wrapper]()]})


@pytest.mark.filterwarnings("ignore:`ReduceOnPlateau` was never told")
@pytest.mark.parametrize(("wrapper", "name"), ROWS)
def test_a_wrapped_optimizer_trains_and_goes_on_after_loading(wrapper, name, tmp_path):
    model = compiled(problems.sequential(), make(wrapper, name))
    start = problems.values(model.trainable_variables)
    seen = interrupted(model, tmp_path / "model.keras")
    seen.resumed.assert_same(seen.went_on)
    saved, loaded = seen.configs
    assert loaded == saved
    moved = [(a != b).any() for a, b in zip(start, problems.values(model.trainable_variables), strict=True)]
    assert any(moved)


# What optimizers are made of, and not put around them.
PARTS = {"Momentum", "SignedMomentum", "OrthogonalizedMomentum", "ScheduleFree", "VarianceReduction", "SeenRows"}
PARTS |= {"Scale", "RelativeStep", "AddDecayedWeights", "ClipByRms"}


def test_no_wrapper_is_left_out():
    public = {name for name in transforms.__all__ if not name.startswith("ScaleBy")} - PARTS - {"Slot", "Transform"}
    assert {type(make()).__name__ for make in WRAPPERS.values()} == public
