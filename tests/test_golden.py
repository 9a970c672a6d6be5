"""Do saved models stay readable: the order of an optimizer's variables, and the keys of its config?

Keras stores an optimizer's state by position, and only warns when the number of tensors differs. A file here changes on
purpose only: `KOPT_REWRITE_GOLDEN=1 python -m pytest tests/test_golden.py`, with an entry in the changelog.
"""

import json
import os
import pathlib

import keras
import pytest
from catalog import CASES

from kopt import optimizers, transforms
from kopt.testing import problems

FOLDER = pathlib.Path(__file__).parent / "golden" / "optimizers"
CLASSES = list(dict.fromkeys(case.optimizer_class for case in CASES))


def full(case):
    """Returns the row's optimizer with everything that adds variables."""
    return case.make(
        groups=[
            optimizers.Group("second/bias", frozen=True),
            optimizers.Group("first/bias", transforms=[transforms.Momentum(0.5)], weight_decay=0.1),
        ],
        before=[transforms.ClipByNorm(1.0)],
        after=[transforms.Momentum(0.3)],
        use_ema=True,
        gradient_accumulation_steps=2,
    )


def layout(optimizer):
    """Returns names, shapes and dtypes of the optimizer's variables in the order of the file."""
    optimizer.build(problems.variables())
    rows = []
    for variable in optimizer.variables:
        dtype = keras.backend.standardize_dtype(variable.dtype)
        dtype = "int" if dtype.startswith("int") else dtype  # 64 bits on TensorFlow, 32 on the others
        rows.append(f"{variable.name} {list(variable.shape)} {dtype}")
    return rows


def keys(config):
    """Returns the keys of a config, with those of the configs in it."""
    return {name: keys(value) if isinstance(value, dict) else None for name, value in sorted(config.items())}


def described(optimizer_class):
    rows = [case for case in CASES if case.optimizer_class is optimizer_class]
    layouts = sorted({tuple(layout(case.make())) for case in rows}, key=lambda lines: (len(lines), lines))
    richest = max(rows, key=lambda case: len(layout(case.make())))
    return {
        "registered_name": keras.saving.get_registered_name(optimizer_class),
        "config": keys(rows[0].make().get_config()),
        "group": keys(optimizers.Group("kernel").get_config()),
        "variables": [list(lines) for lines in layouts],
        "variables_with_everything": layout(full(richest)),
    }


@pytest.mark.parametrize("optimizer_class", CLASSES, ids=lambda kind: kind.__name__)
def test_file_format_stays(optimizer_class):
    path = FOLDER / f"{optimizer_class.__name__}.json"
    found = described(optimizer_class)
    if os.environ.get("KOPT_REWRITE_GOLDEN") == "1":
        path.write_text(json.dumps(found, indent=1) + "\n")
    assert path.exists(), "Written with KOPT_REWRITE_GOLDEN=1."
    assert found == json.loads(path.read_text())


def test_no_file_without_an_optimizer():
    assert {path.stem for path in FOLDER.glob("*.json")} == {kind.__name__ for kind in CLASSES}
