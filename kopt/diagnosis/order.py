"""Root causes first: which findings another one explains, and in what order the rest is told."""

from collections.abc import Sequence

from kopt.diagnosis.finding import SEVERITIES, Finding

ORDER = (
    "NONFINITE_INPUT", "NONFINITE_TARGET", "TARGET_RANGE", "NOT_TRAINABLE", "DOUBLE_SOFTMAX", "LOGITS_AS_PROBABILITIES",
    "OUTPUT_ACTIVATION", "LABEL_LEAK", "DUPLICATES", "TARGET_SCALE", "INPUT_SCALE", "IMBALANCE", "SYMMETRIC_INIT",
    "INIT_SCALE", "LOSS_SCALE", "NAN", "LEARNING_RATE_HIGH", "EXPLODING", "DEAD_UNITS", "SATURATED", "VANISHING",
    "NO_GRADIENT", "LEARNING_RATE_LOW", "RANDOM_LABELS", "OVERFIT", "COLLAPSE", "NOT_LEARNING", "PLATEAU", "BATCH_SIZE",
)  # fmt: skip
"""All codes, from the root to the leaves."""
EXPLAINS_NOTHING = ("LABEL_LEAK", "DUPLICATES", "IMBALANCE", "RANDOM_LABELS", "OVERFIT", "PLATEAU", "BATCH_SIZE")
"""What may be wrong beside something else, and is no reason for it."""
STANDS_ALONE = ("LABEL_LEAK", "DUPLICATES", "IMBALANCE", "BATCH_SIZE", "INPUT_SCALE", "TARGET_SCALE", "INIT_SCALE",
                "NOT_TRAINABLE", "DOUBLE_SOFTMAX", "LOGITS_AS_PROBABILITIES", "OUTPUT_ACTIVATION", "TARGET_RANGE",
                "NONFINITE_INPUT", "NONFINITE_TARGET")  # fmt: skip
"""What is a fact of data or model by itself, whatever else is wrong."""
_SPECIAL = {
    "IMBALANCE": ("COLLAPSE", "NOT_LEARNING", "RANDOM_LABELS"),
    "RANDOM_LABELS": ("OVERFIT", "NOT_LEARNING", "COLLAPSE"),
    "OVERFIT": ("PLATEAU",),
}


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Returns findings from cause to effect, without those that another one explains.

    Data and the fit of output and loss come first, then how weights begin, then numbers that break, the learning rate,
    layers through which no gradient passes, and curves. A finding further down is left out if one further up explains
    it, which all do but those in `EXPLAINS_NOTHING`; facts of data and model (`STANDS_ALONE`) are always told.
    """
    ranked = sorted(findings, key=lambda f: (ORDER.index(f.code), SEVERITIES.index(f.severity)))
    told: list[Finding] = []
    for finding in ranked:
        if finding.code in STANDS_ALONE or not any(_explains(cause, finding) for cause in told):
            told.append(finding)
    return told


def _explains(cause: Finding, effect: Finding) -> bool:
    if cause.code == effect.code:
        return False
    if cause.code in _SPECIAL and effect.code in _SPECIAL[cause.code]:
        return True
    return cause.code not in EXPLAINS_NOTHING and cause.severity != "info"
