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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from kopt.tuning.sampler.tree import Tree

Array = np.ndarray
Backward = Callable[[Array, Array], None]
# Squared distances from an inactive parameter. Any two categories are 1 apart, as are the corners of a simplex: they
# lie on a sphere of a radius whose square is below 1 / 2, so that a point at this distance from all of them exists.
TO_CATEGORY, TO_MIDDLE = 0.5, 0.25


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
        """Returns squared distances on each axis, for pairs of rows.

        Args:
            first: Rows, shape (..., d).
            second: Rows, of a shape that broadcasts with that of `first`.

        Returns:
            Shape (d, ...). Between two categories it is 0 or 1.
        """
        found = np.empty((len(self.categorical), *np.broadcast_shapes(first.shape[:-1], second.shape[:-1])))
        for i in range(len(found)):
            self._apart(i, first[..., i], second[..., i], found[i])
        return found

    def _apart(self, i: int, one: Array, other: Array, found: Array) -> Array:
        """Writes the squared distances on axis i into `found`, and returns it."""
        missing, absent = np.isnan(one), np.isnan(other)
        if not missing.any() and not absent.any():
            np.subtract(one, other, out=found)
        else:
            np.subtract(np.where(missing, 0.5, one), np.where(absent, 0.5, other), out=found)
        if self.categorical[i]:
            np.not_equal(found, 0.0, out=found, casting="unsafe")
        else:
            np.multiply(found, found, out=found)
        if missing.any() or absent.any():
            differ = missing != absent
            if self.categorical[i]:
                found[differ] = TO_CATEGORY
            else:
                found += TO_MIDDLE * differ
        return found

    def between(self, theta: Array, first: Array, second: Array) -> Array:
        """Returns the kernel of each row of `first` with each of `second`.

        Rows that were made of one another by changing a few parameters have the factors of the other groups in common:
        these are computed once.

        Args:
            theta: Hyperparameters, shape (size,).
            first: Rows, shape (m, d).
            second: Rows, shape (n, d).

        Returns:
            Shape (m, n).
        """
        dimensions = first.shape[1]
        weights, interactions = np.exp(theta[:dimensions]), np.exp(theta[dimensions:])
        kernel = np.ones((len(first), len(second)))
        for node, members, a in zip(self.groups, self.members, interactions, strict=True):
            own = np.ascontiguousarray(first[:, members])
            keys = own[:, 0] if len(members) == 1 else own.view(np.dtype((np.void, own.itemsize * len(members))))[:, 0]
            _, where, which = np.unique(keys, return_index=True, return_inverse=True)
            shape = (len(where), len(second))
            apart = {
                i: self._apart(i, own[where, k, None], second[None, :, i], np.empty(shape))
                for k, i in enumerate(members)
            }
            factor = _factor(_forward(node, weights, apart)[0], a)
            kernel *= factor if len(where) == len(first) and np.array_equal(where, which) else factor[which]
        return kernel

    def __call__(self, theta: Array, distances: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Returns the kernel for `distances`, and a function from its derivatives to those of the hyperparameters.

        Args:
            theta: Hyperparameters, shape (size,).
            distances: What `distances` returned, shape (d, ...).
        """
        dimensions = len(distances)
        weights, interactions = np.exp(theta[:dimensions]), np.exp(theta[dimensions:])
        parts = [_forward(node, weights, distances) for node in self.groups]
        factors = [_factor(m, a) for (m, _), a in zip(parts, interactions, strict=True)]
        kernel = np.ones(distances.shape[1:])
        for factor in factors:
            kernel *= factor

        def backward(gradient: Array) -> Array:
            found = np.zeros(self.size)
            for g, ((m, through), a) in enumerate(zip(parts, interactions, strict=True)):
                outer = gradient * kernel / factors[g]
                through(outer * (a / (1 + a)), found)
                found[dimensions + g] = a / (1 + a) ** 2 * np.sum(outer * (m - 1))
            return found

        return kernel, backward


def _members(i: int, children: Mapping[int | None, list[int]]) -> list[int]:
    """Returns parameter i and all below it."""
    return [i, *(member for child in children.get(i, []) for member in _members(child, children))]


def _factor(m: Array, a: float) -> Array:
    factor = m * (a / (1 + a))
    factor += 1 / (1 + a)
    return factor


def _matern(squared: Array) -> tuple[Array, Callable[[], Array]]:
    """Returns the Matern-5/2 kernel of squared distances, and a function for its derivative with respect to them."""
    r = np.sqrt(5 * squared)
    decay = np.exp(-r)
    # (1 + r + r^2 / 3) decay, without an array for each operation: this is where a suggestion's time goes.
    kernel = r * (1 / 3)
    kernel += 1
    kernel *= r
    kernel += 1
    kernel *= decay
    return kernel, lambda: (-5 / 6) * (1 + r) * decay


def _forward(node: Node, weights: Array, distances: Array | Mapping[int, Array]) -> tuple[Array, Backward]:
    matern, slope = np.ones(()), None
    if node.leaves:
        matern, slope = _matern(sum(weights[leaf] ** 2 * distances[leaf] for leaf in node.leaves))
    below = [_forward(child, weights, distances) for child in node.nodes]
    inner = matern
    for k, _ in below:
        inner = inner * k
    rho = float(np.exp(-weights[node.own])) if node.branching else 0.0
    same = (distances[node.own] == 0).astype(float) if node.branching else 1.0
    kernel = rho + (1 - rho) * same * inner

    def backward(gradient: Array, found: Array) -> None:
        if node.branching:
            found[node.own] += -weights[node.own] * rho * np.sum(gradient * (1 - same * inner))
        into = gradient * (1 - rho) * same
        for j, (_, through) in enumerate(below):
            others = matern
            for other, (k, _) in enumerate(below):
                others = others if other == j else others * k
            through(into * others, found)
        if slope is not None:
            into = into * slope()
            for k, _ in below:
                into = into * k
            for leaf in node.leaves:
                found[leaf] += 2 * weights[leaf] ** 2 * np.sum(into * distances[leaf])

    return kernel, backward
