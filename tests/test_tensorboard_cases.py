"""Does the monitor leave every kind of training as it is, and log the promised steps? One row, two fits, all checks."""

import re

import monitored
import numpy as np
import pytest
import trainings


@pytest.fixture(
    scope="module",
    params=[pytest.param(row, id=row.id, marks=() if row.fast else pytest.mark.slow) for row in trainings.HERE],
)
def case(request, tmp_path_factory):
    """A row with what it left behind without and with the monitor, and what the monitor logged."""
    row = request.param
    if trainings.BACKEND in row.refused:
        words = row.refused[trainings.BACKEND]
        with pytest.raises(ValueError, match=re.escape(words)):
            monitored.run(row)
        pytest.skip(f"Keras: {words}")
    log_dir = tmp_path_factory.mktemp(row.id)
    return row, monitored.run(row), monitored.run(row, log_dir), *monitored.logged(log_dir)


def test_the_training_is_the_same_bit_for_bit(case):
    _, without, watched, _, _ = case
    assert watched.losses == pytest.approx(without.losses, rel=0, abs=0, nan_ok=True)
    assert watched.state.keys() == without.state.keys()
    for path, value in without.state.items():
        np.testing.assert_array_equal(watched.state[path], value, err_msg=path)


def test_the_promised_tags_are_there_at_the_promised_steps(case):
    row, _, watched, scalars, histograms = case
    assert scalars.keys() == monitored.promised_scalars(row, watched.paths)
    assert histograms.keys() == {f"gradients/{path}" for path in watched.paths}
    promised = list(row.promised)
    for tag, points in (scalars | histograms).items():
        steps = [step for step, _ in points]
        if row.freezes and ("/first/" in tag or tag == "loss/regularization"):
            assert steps in (promised, promised[: row.freezes]), tag
        else:
            assert steps == promised, tag


def test_nothing_is_left_behind(case):
    _, without, watched, _, _ = case
    model, optimizer = watched.model, watched.model.optimizer
    assert all(before is after for before, after in watched.plain)
    assert vars(model).keys() == vars(without.model).keys()
    assert vars(optimizer).keys() == vars(without.model.optimizer).keys()
    for metric, other in zip(model.metrics, without.model.metrics, strict=True):
        assert vars(metric).keys() == vars(other).keys()
