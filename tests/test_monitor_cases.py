"""Does everything there is to see leave every kind of training as it is? One row, two fits, the preset `full`."""

import warnings

import event_files
import monitored
import numpy as np
import pytest
import trainings

FAST = {"keras", "accumulation", "noisy", "custom-step"}
ROWS = [row for row in trainings.HERE if trainings.BACKEND not in row.refused]


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.id, marks=() if row.id in FAST else pytest.mark.slow) for row in ROWS]
)
def test_the_training_is_the_same_bit_for_bit_with_all_quantities(row, tmp_path):
    without = monitored.run(row)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(NaN|is not measured)", UserWarning)
        watched = monitored.run(row, tmp_path, monitor="full")
    assert watched.losses == pytest.approx(without.losses, rel=0, abs=0, nan_ok=True)
    assert watched.state.keys() == without.state.keys()
    for path, value in without.state.items():
        np.testing.assert_array_equal(watched.state[path], value, err_msg=path)
    seen = event_files.scalars(tmp_path / "train")
    assert {"gradients/global_norm", "updates/global_norm", "learning_rate"} - row.missing <= seen.keys()
