"""L-BFGS one slope at a time: which trial points it takes and accepts, which pairs it keeps, and what it forgets."""

import numpy as np
import pytest
from stepwise import Stepwise, array

from kopt import transforms


def begun(start, **kwargs):
    return Stepwise(transforms.ScaleByLBFGS(**kwargs), {"x": start})


def trial_points(first, start_slope, slopes):
    """Returns where the search looks, from the docstring: secants, within a tenth of the ends of the bracket."""
    low, low_slope, high, high_slope, alpha, points = 0.0, start_slope, None, None, first, []
    for slope in slopes:
        if slope is None or slope > 0:
            high, high_slope = alpha, slope
        else:
            leap = np.clip(-slope / (slope - low_slope), 1, 10) if slope > low_slope else 10.0
            alpha, low, low_slope = alpha + leap * (alpha - low), alpha, slope
        if high is not None:
            secant = low_slope / (low_slope - high_slope) if high_slope is not None else 0.5 if low else 0.0
            alpha = low + np.clip(secant, 0.1, 0.9) * (high - low)
        points.append(alpha)
    return points


# None of them is accepted; None is that of a gradient that is not finite.
SLOPES = {
    "past the minimum": [-20.0, -5.0, 30.0, -6.0, None, -7.0, 12.0],
    "out of the domain": [None, 40.0, -8.0, None, -15.0, 9.0],
    "ever further": [-9.0, -30.0, -9.0, -28.0, 10.0, 50.0, -5.0],
    "too far at once": [25.0, -6.0, 8.0, None, -14.0],
}


@pytest.mark.parametrize("slopes", SLOPES.values(), ids=SLOPES)
def test_trial_points_are_those_of_the_secants(slopes):
    run = begun([0.0], decrease=0.1, curvature=0.5)
    run.told([3.0])
    np.testing.assert_allclose(run.number("alpha"), 1 / 3, rtol=1e-6)
    found = []
    for slope in slopes:
        run.told([np.nan if slope is None else slope / -3])
        found.append(run.number("alpha"))
        np.testing.assert_allclose(array(run.x[0]), [-3 * found[-1]], rtol=1e-5)
    np.testing.assert_allclose(found, trial_points(1 / 3, -9.0, slopes), rtol=2e-5)
    assert run.number("trials") == len(slopes)


@pytest.mark.parametrize(
    ("slope", "is_accepted"), [(0.5, True), (0.5001, False), (-0.75, True), (-0.7501, False), (0.0, True)]
)
def test_both_bounds_are_among_the_slopes_that_are_accepted(slope, is_accepted):
    run = begun([0.0], decrease=0.25, curvature=0.75)
    run.told([1.0])
    run.told([-slope])
    assert run.number("trials") == (0 if is_accepted else 1)
    np.testing.assert_array_equal(run.array("gradient"), [-slope if is_accepted else 1.0])


def test_the_bounds_may_meet():
    assert transforms.ScaleByLBFGS(decrease=0.3, curvature=0.3).decrease == 0.3


def test_the_point_after_twenty_trials_is_accepted():
    run, trials = begun([0.0]), []
    run.told([1.0])
    for _ in range(23):
        run.told([-10.0])
        trials.append(run.number("trials"))
    assert trials == [*range(1, 21), 0, *range(1, 3)]


@pytest.mark.parametrize("size_of_change", [0.01, 100.0])
@pytest.mark.parametrize(("cosine", "is_kept"), [(0.59, False), (0.61, True), (-0.9, False)])
def test_a_pair_is_kept_if_its_cosine_is_large_enough(size_of_change, cosine, is_kept):
    run = begun([0.0, 0.0], epsilon=0.6, line_search=False)
    run.told([-0.01, 0.0])
    step = array(run.x[0]).astype("float64")
    first = np.array([-0.01, 0.0])
    change = size_of_change * np.array([cosine, np.sqrt(1 - cosine**2)])
    run.told(first + change)
    assert np.any(step != 0)
    np.testing.assert_allclose(run.array("changes")[-1], change if is_kept else 0.0, rtol=1e-2, atol=1e-6)
    assert (run.array("steps_changes")[-1, -1] > 0) == is_kept


def walked(steps):
    """Returns a run on a quadratic that has kept some pairs."""
    run, curvatures = begun([1.0, -2.0, 3.0], memory=4), np.array([1.0, 3.0, 9.0])
    for _ in range(steps):
        run.told(curvatures * array(run.x[0]))
    assert np.count_nonzero(np.diag(run.array("steps_changes"))) >= 2
    return run


def at_zero(run):
    run.told([0.0, 0.0, 0.0])
    np.testing.assert_array_equal(run.array("direction"), np.zeros(3))


def among_others(run):
    run.own["size"] = run.own["size"] + 5.0


@pytest.mark.parametrize("event", [at_zero, among_others])
@pytest.mark.parametrize("gradient", [[0.5, -3.0, 2.0], [0.1, 0.2, -0.3]])
def test_a_restart_forgets_all_pairs_and_begins_with_the_gradient(event, gradient):
    run = walked(7)
    event(run)
    run.told(gradient)
    np.testing.assert_array_equal(run.array("direction"), -np.float32(gradient))
    np.testing.assert_allclose(run.number("alpha"), 1 / max(np.abs(gradient).sum(), 1), rtol=1e-6)
    for name in ("steps_changes", "changes_changes"):
        np.testing.assert_array_equal(run.array(name), np.zeros((4, 4)))
    assert np.count_nonzero(run.array("steps")), "the vectors stay: only their products say that there is no pair"
