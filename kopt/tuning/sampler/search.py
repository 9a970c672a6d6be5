"""Where to look next: the point of the highest expected improvement among random points and changed good ones."""

from collections.abc import Mapping

import numpy as np
from scipy.special import erfcx, ndtr

from kopt.tuning.sampler.fit import Posterior
from kopt.tuning.sampler.tree import Tree, key_of

Array = np.ndarray
RANDOM, ELITES, MUTANTS = 256, 6, 34
ROUNDS, PARENTS, CHILDREN = 8, 6, 20
STEP, SHRINK = 0.1, 0.4
ENUMERATED = 512


def log_expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Returns the logarithm of the expected improvement on `best`, of what is minimised.

    Far from `best` the improvement itself underflows; the logarithm still tells which point is nearer.

    References:
        Ament et al. 2023, "Unexpected improvements to expected improvement", https://arxiv.org/abs/2310.20708.
    """
    z = (best - mean) / deviation
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        near = np.log(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) + z * ndtr(z))
        ratio = np.sqrt(np.pi / 2) * -z * erfcx(-z / np.sqrt(2))  # -z Phi(z) / phi(z), which tends to 1.
        far = -0.5 * z * z - 0.5 * np.log(2 * np.pi) + np.log(np.maximum(1 - ratio, 1e-300))
        tail = -0.5 * z * z - 0.5 * np.log(2 * np.pi) - 2 * np.log(-z)
    return np.log(deviation) + np.where(z > -1, near, np.where(z > -1e3, far, tail))


def proposed(
    tree: Tree,
    posterior: Posterior,
    rows: Array,
    values: Array,
    rng: np.random.Generator,
    forced: Mapping[int, float] | None = None,
) -> Array | None:
    """Returns positions for the next trial, or None if every configuration of a small space was tried.

    Args:
        tree: The space.
        posterior: What is expected, pending trials included.
        rows: Those of finished and pending trials.
        values: Results of the finished ones, which come first in `rows`.
        rng: Random numbers.
        forced: Positions that some parameters must have.
    """
    fixed, at = list(forced or {}), list((forced or {}).values())
    tried = {key_of(row) for row in rows}
    few = tree.all_rows(ENUMERATED)
    order = np.argsort(values, kind="stable")[:ELITES]
    # Pending trials included: what one of them is believed to reach is no improvement.
    best = float(posterior(np.concatenate([rows[order], rows[len(values) :]]))[0].min())
    if few is not None:
        left = np.array([row for row in few if key_of(row) not in tried])
        if not len(left):
            return None
        return left[np.argmax(log_expected_improvement(*posterior(left), best))]
    pool = np.concatenate([rng.random((RANDOM, len(tree.axes))), _mutated(tree, _elites(rows, values, rng), rng)])
    pool[:, fixed] = at
    scores = log_expected_improvement(*posterior(tree.rows(pool)), best)
    for step in STEP * SHRINK ** np.arange(ROUNDS):
        parents = pool[np.argsort(-scores, kind="stable")[:PARENTS]]
        children = _changed(tree, np.repeat(parents, CHILDREN, axis=0), step, rng)
        children[:, fixed] = at
        scores = np.concatenate([scores, log_expected_improvement(*posterior(tree.rows(children)), best)])
        pool = np.concatenate([pool, children])
    order = np.argsort(-scores, kind="stable")
    snapped = tree.rows(pool[order])
    for positions, row in zip(pool[order], snapped, strict=True):
        if key_of(row) not in tried:
            return positions
    return rng.random(len(tree.axes))


def neglected_branch(tree: Tree, rows: Array, rng: np.random.Generator) -> dict[int, float]:
    """Returns positions that lead into a branch: by lot, the less often a branch was visited the more likely.

    Expected improvement alone leaves a branch for good after one bad trial in it.
    """
    parents = {i for conditions in tree.conditions for condition in conditions for i, _ in condition}
    branches = [
        (i, (k + 0.5) / (tree.axes[i].count or 1))
        for i in sorted(parents)
        if tree.axes[i].categorical
        for k in range(tree.axes[i].count or 0)
    ]
    if not branches:
        return {}
    visits = np.array([np.sum(np.isclose(rows[:, i], position)) for i, position in branches])
    odds = 1 / (visits + 1)
    chosen, position = branches[rng.choice(len(branches), p=odds / odds.sum())]
    forced, reached = {chosen: position}, [chosen]
    while reached:
        for condition in tree.conditions[reached.pop()]:
            parent, allowed = condition[rng.integers(len(condition))]
            if parent not in forced and len(allowed):
                forced[parent] = float(allowed[rng.integers(len(allowed))])
                reached.append(parent)
    return forced


def _elites(rows: Array, values: Array, rng: np.random.Generator) -> Array:
    """Returns the best rows; inactive parameters have the position of the best trial in which they were active."""
    order = np.argsort(values, kind="stable")
    ranked = rows[order]
    known = ~np.isnan(ranked)
    filler = np.where(known.any(axis=0), ranked[known.argmax(axis=0), np.arange(rows.shape[1])], np.nan)
    filler = np.where(np.isnan(filler), rng.random(rows.shape[1]), filler)
    elites = ranked[:ELITES]
    return np.where(np.isnan(elites), filler, elites)


def _mutated(tree: Tree, elites: Array, rng: np.random.Generator) -> Array:
    """Returns changed elites: near ones, and ones in which some parameters are drawn anew."""
    many = np.repeat(elites, MUTANTS, axis=0)
    near = _changed(tree, many, STEP, rng)
    anew = (rng.random(many.shape) < 2 / many.shape[1]) & (rng.random((len(many), 1)) < 0.5)
    return np.where(anew, rng.random(many.shape), near)


def _changed(tree: Tree, positions: Array, step: float, rng: np.random.Generator) -> Array:
    """Returns `positions` with a few active parameters moved by about `step`, at least to the next value."""
    active = ~np.isnan(tree.rows(positions))
    chosen = active & (rng.random(positions.shape) < 2 / np.maximum(active.sum(axis=1, keepdims=True), 1))
    chosen[np.arange(len(positions)), np.argmax(active * rng.random(positions.shape), axis=1)] = True
    shares = np.array([0.0 if axis.count is None else 1 / axis.count for axis in tree.axes])
    moved = positions + np.maximum(step, shares) * rng.standard_normal(positions.shape)
    moved = 1 - np.abs(1 - np.abs(moved))  # Reflected at the ends, as no prior knowledge says that these are bad.
    categorical = np.array([axis.categorical for axis in tree.axes], bool)
    moved = np.where(categorical, rng.random(positions.shape), np.clip(moved, 0.0, 1.0))
    return np.where(chosen, moved, positions)
