"""Do the rules find what is wrong with a run, from cause to effect, and say nothing where nothing is? No backend."""

import json
import math
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from statistics_of_runs import ROWS, both, facts, healthy, losses, numbers, output

import kopt
from kopt.diagnosis import Finding, Statistics, arrays
from kopt.diagnosis.order import ORDER

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")


def codes(stats):
    return [finding.code for finding in kopt.diagnose(stats)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.code} {row.id}".strip())
def test_a_rule_finds_what_is_wrong_and_nothing_else(row):
    first, *others = kopt.diagnose(row.statistics())
    assert (first.code, first.severity) == (row.code, row.severity)
    assert others == []
    assert row.where is None or first.where == row.where
    assert first.sentence.endswith(".")
    assert first.advice.endswith(".")
    json.dumps(first.to_dict(), allow_nan=False)


def test_a_healthy_run_gives_no_finding_at_any_time():
    for stats in healthy().stages():
        assert codes(stats) == []
    assert codes(Statistics()) == []


def test_every_code_has_a_row_and_a_line_in_the_documents():
    assert {row.code for row in ROWS} == set(ORDER)
    listed = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "diagnosis.md").read_text(), re.M)
    assert listed == list(ORDER)


def sick(*changes):
    stats = healthy()
    both(*changes)(stats)
    return stats


def test_causes_hide_their_effects_and_not_what_stands_alone():
    dead = numbers("activations_dead_fraction/", lambda look: 1.0)
    still, none = losses(1.1), numbers("gradients_norm/one", lambda look: 0.0)
    assert codes(sick(dead, still, none)) == ["DEAD_UNITS"]
    assert codes(sick(dead, still, none, output(from_logits=True))) == ["DOUBLE_SOFTMAX"]
    twice = facts("data", duplicates={"rows": 50, "in_both": 9})
    assert codes(sick(dead, still, none, twice)) == ["DUPLICATES", "DEAD_UNITS"]
    large = facts("data", "inputs", "all", feature_mean_max=500.0)
    assert codes(sick(large, output(activation="linear"), still)) == ["LOGITS_AS_PROBABILITIES", "INPUT_SCALE"]


def test_what_is_right_for_one_model_is_not_told_as_wrong():
    """Each of these looks like a fault and is none."""
    large = facts("data", "inputs", "all", feature_mean_max=500.0)
    assert codes(sick(large, facts("model", inputs_are_scaled=True))) == []
    assert codes(sick(facts("model", "kernels", "one/kernel", gain=24.0), facts("model", is_normalized=True))) == []
    assert codes(sick(facts("model", "kernels", "one/kernel", gain=24.0), facts("model", steps_done=500))) == []
    assert codes(sick(output(activation="linear", from_logits=True))) == []
    assert codes(sick(facts("model", "kernels", "one/kernel", units_are_equal=True, units_stay_equal=False))) == []
    assert codes(sick(numbers("activations_dead_fraction/", lambda look: 0.95))) == []  # It learns.
    assert codes(sick(numbers("update_to_weight/", lambda look: 2.0 if look.step < 3 else 0.01))) == []
    scaled = both(numbers("loss_scale", lambda look: 2.0**14), numbers("gradients_norm/", lambda look: math.inf))
    stats = sick(scaled)
    for look in stats.looks[3:]:
        look.numbers |= {tag: 0.1 for tag in look.numbers if tag.startswith("gradients_norm")}
    assert codes(stats) == []
    warm = numbers("update_to_weight/", lambda look: 1e-7 if look.epoch < 2 else 0.003)
    assert codes(sick(warm, numbers("learning_rate", lambda look: 1e-7 if look.epoch < 2 else 1e-3))) == []


def test_only_a_validation_loss_that_rises_with_worse_answers_is_a_warning():
    held = (1.1, 0.5, 0.6, 0.7, 0.8, 0.9)
    stats = sick(losses(1.1, 0.5, 0.3, 0.15, held=held))
    assert [(f.code, f.severity) for f in kopt.diagnose(stats)] == [("OVERFIT", "info")]


def test_statistics_go_through_a_file_and_stay_small(tmp_path):
    stats = sick(numbers("loss/total", lambda look: math.nan), numbers("gradients/global_norm", lambda look: math.inf))
    stats.save(tmp_path / "run.json")
    json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
    again = Statistics.load(tmp_path / "run.json")
    np.testing.assert_equal(again.looks, stats.looks)
    assert (again.data, again.model, again.epochs) == (stats.data, stats.model, stats.epochs)
    assert [str(finding) for finding in kopt.diagnose(again)] == [str(finding) for finding in kopt.diagnose(stats)]
    for step in range(1000, 9000):
        stats.add(kopt.diagnosis.Look(step, 9, {}))
    steps = [look.step for look in stats.looks]
    assert steps == sorted(set(steps))
    assert len(steps) <= 16 + 128
    assert steps[:16] == [look.step for look in again.looks[:16]]
    assert steps[-1] == 8999
    middle = np.diff(steps[40:-1])
    assert middle.max() <= 3 * middle.min() or middle.max() < 200


@pytest.mark.parametrize("text", ["[1]", "{}", "nothing", '{"format": 99}'])
def test_another_file_is_no_statistics(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"`path` must be a file of `Statistics.save`.*Received: "):
        Statistics.load(tmp_path / "run.json")
    with pytest.raises(ValueError, match=r"`statistics` must be .*Received: statistics=dict"):
        kopt.diagnose({})


def test_facts_of_arrays():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 4)).astype("float32"), rng.integers(0, 3, 200)
    found = arrays.data_facts(x, y, (x[190:], y[190:]))
    assert found["duplicates"] == {"rows": 10, "in_both": 10}
    assert found["leaks"] == []
    assert found["targets"]["all"]["classes"] == {str(k): pytest.approx((y == k).mean()) for k in range(3)}
    assert found["inputs"]["all"]["feature_std_max"] == pytest.approx(x.std(0).max(), rel=1e-5)
    told = arrays.data_facts({"a": x, "b": np.stack([y, x[:, 0]], 1)}, y)["leaks"]
    assert told == [{"input": "b", "feature": [0], "target": "all", "strength": 1.0}]
    line = arrays.data_facts(x, 3 * x[:, 2] - 1)["leaks"]
    assert [leak["feature"] for leak in line] == [[2]]
    x[5, 1] = np.nan
    assert arrays.data_facts(x)["inputs"]["all"]["nonfinite_rows"] == 1
    several = (rng.random((50, 4)) < 0.5).astype("float32")
    assert arrays.data_facts(x[:50], several)["targets"]["all"]["several"] == pytest.approx(several.sum(1).mean())
    one_hot = np.eye(4, dtype="float32")[rng.integers(0, 4, 50)]
    assert sum(arrays.data_facts(x[:50], one_hot)["targets"]["all"]["classes"].values()) == pytest.approx(1)


def test_a_good_feature_is_no_leak():
    """It separates the classes, but lies as close to the border as to its neighbours."""
    rng = np.random.default_rng(1)
    x = np.sort(rng.normal(size=(300, 1)), axis=0)
    assert arrays.data_facts(x, (x[:, 0] > 0).astype("int64"))["leaks"] == []


def test_a_finding_reads_well():
    finding = Finding("NAN", "error", "At step 3 the loss held NaN.", "Lower the rate.", "")
    assert str(finding) == "NAN (error): At step 3 the loss held NaN. Lower the rate."
