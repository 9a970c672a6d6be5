"""The kernel over a conditional space: which trials are expected to have similar results.

With M a Matern-5/2 kernel of weighted distances, one group g for each parameter that depends on no other one, and the
parameters below it in its group:

```
k(x, x')  = prod_g (1 + a_g m_g(x, x')) / (1 + a_g)
m_g       = M(w |x_g - x'_g|)                                              nothing depends on the parameter
m_g       = rho + (1 - rho) [same value] M(its leaves) prod m(its branching children)       a category decides
m_g       = M(its own and its leaves' distance) prod m(its branching children)       a number decides
```

A small a_g says that the group adds to the others, a large one that it interacts with them; rho = exp(-w) is what
branches have in common. A parameter that is active in one of two trials only is at a fixed distance: it lies on an
axis of its own, half a unit from the middle of its range. Each factor is a kernel of points in a Euclidean space or of
equality, and sums and products of such are positive definite, whatever the conditions are.

References:
    Duvenaud et al. 2011, "Additive Gaussian processes", https://arxiv.org/abs/1112.4394; Swersky et al. 2014, "Raiders
    of the lost architecture: kernels for Bayesian optimization in conditional parameter spaces",
    https://arxiv.org/abs/1409.4011 (the idea of embedding inactive parameters).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kopt.tuning.sampler.tree import Tree

Array = np.ndarray
Backward = Callable[[Array, Array], None]
# Distances from an inactive parameter. Any two categories are 1 apart, as are the corners of a simplex: they lie on a
# sphere of a radius whose square is below 1 / 2, so that a point at this distance from all of them exists.
TO_CATEGORY, TO_MIDDLE = 0.5**0.5, 0.5
SQRT5 = 5**0.5


@dataclass
class Node:
    """A parameter with what hangs below it.

    Attributes:
        own: The index of the parameter.
        branching: Whether it is a category with parameters below it.
        leaves: Indices of the parameters whose distances are added up in one Matern kernel.
        nodes: What hangs below it and has something below itself.
    """

    own: int
    branching: bool = False
    leaves: list[int] = field(default_factory=list)
    nodes: list["Node"] = field(default_factory=list)


class TreeKernel:
    """The kernel of a space. Hyperparameters are logarithms: d weights w, then one a for each group.

    Args:
        tree: The space.
    """

    def __init__(self, tree: Tree) -> None:
        self.categorical = np.array([axis.categorical for axis in tree.axes], bool)
        children: dict[int | None, list[int]] = {}
        for i in range(len(tree.axes)):
            children.setdefault(tree.parent(i), []).append(i)
        self.groups = [self._node(i, children) for i in children.get(None, [])]
        self.members = [_members(i, children) for i in children.get(None, [])]
        self.size = len(tree.axes) + len(self.groups)

    def _node(self, i: int, children: dict[int | None, list[int]]) -> Node:
        below = children.get(i, [])
        branching = bool(below) and bool(self.categorical[i])
        leaves = [child for child in below if child not in children]
        return Node(
            i,
            branching,
            leaves if branching else [i, *leaves],
            [self._node(child, children) for child in below if child in children],
        )

    def distances(self, first: Array, second: Array) -> Array:
        """Returns distances on each axis, for pairs of rows.

        Args:
            first: Rows, shape (..., d).
            second: Rows, of a shape that broadcasts with that of `first`.

        Returns:
            Shape (d, ...). Between two categories it is 0 or 1.
        """
        found = np.zeros((len(self.categorical), *np.broadcast_shapes(first.shape[:-1], second.shape[:-1])))
        for i, categorical in enumerate(self.categorical):
            distance = apart(first[..., i], second[..., i], categorical=categorical)
            if distance is not None:
                found[i] = distance
        return found

    def __call__(self, theta: Array, distances: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Returns the kernel for `distances`, and a function from its derivatives to those of the hyperparameters.

        Args:
            theta: Hyperparameters, shape (size,).
            distances: What `distances` returned, shape (d, ...).
        """
        dimensions = len(distances)
        weights, interactions = np.exp(theta[:dimensions]), np.exp(theta[dimensions:])
        kernel = np.ones(distances.shape[1:])
        factors, throughs = [], []
        for node, a in zip(self.groups, interactions, strict=True):
            factor, through = _forward(node, weights, distances)
            factor *= a / (1 + a)
            factor += 1 / (1 + a)
            kernel *= factor
            factors.append(factor)
            throughs.append(through)

        def backward(gradient: Array) -> Array:
            found = np.zeros(self.size)
            inner = gradient * kernel
            total = inner.sum()
            for g, (factor, through, a) in enumerate(zip(factors, throughs, interactions, strict=True)):
                outer = inner / factor
                # The sum of outer (m - 1) a / (1 + a)^2, where m - 1 = (factor - 1) (1 + a) / a.
                found[dimensions + g] = (total - outer.sum()) / (1 + a)
                outer *= a / (1 + a)
                through(outer, found)
            return found

        return kernel, backward


def apart(one: Array, other: Array, *, categorical: bool, weight: float = 1.0) -> Array | None:
    """Returns the distances between positions on one axis, NaN where the parameter is inactive.

    Where it is inactive everywhere nothing is apart: that is None.
    """
    missing, absent = np.isnan(one), np.isnan(other)
    everywhere = not missing.any() and not absent.any()
    if not everywhere and missing.all() and absent.all():
        return None
    if categorical:
        differ = (one != other).astype(float)
        return weight * (
            differ if everywhere else np.where(missing != absent, TO_CATEGORY, differ * ~(missing & absent))
        )
    if not everywhere:
        one, other = np.where(missing, 0.5, one), np.where(absent, 0.5, other)
    # Weighted before they are subtracted, where there are fewer.
    found = weight * one - weight * other
    np.abs(found, out=found)
    return found if everywhere else np.hypot(found, weight * TO_MIDDLE * (missing != absent))


def _members(i: int, children: Mapping[int | None, list[int]]) -> list[int]:
    """Returns parameter i and all below it."""
    return [i, *(member for child in children.get(i, []) for member in _members(child, children))]


def length(parts: Sequence[Array]) -> Array:
    """Returns the lengths of vectors with the given components."""
    if len(parts) == 1:
        return parts[0]
    squared = np.square(parts[0])
    for part in parts[1:]:
        squared += np.square(part)
    return np.sqrt(squared, out=squared)


def matern(r: Array) -> Array:
    """Returns the Matern-5/2 kernel of sqrt(5) times a distance."""
    decay = np.negative(r)
    np.exp(decay, out=decay)
    # (1 + r + r^2 / 3) decay, without an array for each operation: this is where a suggestion's time goes.
    kernel = r * (1 / 3)
    kernel += 1
    kernel *= r
    kernel += 1
    kernel *= decay
    return kernel


def _forward(node: Node, weights: Array, distances: Array) -> tuple[Array, Backward]:
    """Returns a group's kernel, which may be changed, and what takes its derivatives back."""

    def components() -> list[Array]:
        return [(SQRT5 * weights[leaf]) * distances[leaf] for leaf in node.leaves]

    own = matern(length(components())) if node.leaves else np.ones(distances.shape[1:])
    below = [_forward(child, weights, distances) for child in node.nodes]
    kernel = inner = math.prod((k for k, _ in below), start=own)
    rho, same = 0.0, np.ones(())
    if node.branching:
        rho, same = float(np.exp(-weights[node.own])), distances[node.own] == 0
        kernel = rho + (1 - rho) * same * inner

    def backward(gradient: Array, found: Array) -> None:
        into = gradient
        if node.branching:
            found[node.own] += -weights[node.own] * rho * np.sum(gradient * (1 - same * inner))
            into = gradient * (1 - rho) * same
        for j, (_, through) in enumerate(below):
            through(into * math.prod((k for i, (k, _) in enumerate(below) if i != j), start=own), found)
        if node.leaves:
            # Computed once more: to keep these for all groups would take more memory than a core has near it. The
            # derivative by the logarithm of a weight is -5 (w d)^2 (1 + r) exp(-r) / 3.
            parts = components()
            r = length(parts)
            slope = r + 1
            slope *= np.exp(-r)
            slope *= math.prod((k for k, _ in below), start=into)
            for leaf, part in zip(node.leaves, parts, strict=True):
                found[leaf] -= 1 / 3 * np.vdot(slope, np.square(part))

    return kernel, backward
