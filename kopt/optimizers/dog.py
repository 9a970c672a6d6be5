"""DoG: distance over gradients."""

from typing import Any, Unpack

from kopt._core.configured import register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByDog, ScaleByLearningRate


@register
class DoG(ComposedOptimizer):
    """Gradient descent whose rate is the largest distance from the start over the root of the sum of squared gradients.

    ```
    d <- max(d, |x - x_0|)                        from d = d0 (1 + |x_0|), or d0
    G <- G + |g|^2
    x <- x - learning_rate d / sqrt(G + epsilon) (g + weight_decay x)
    ```

    Norms are over all variables together. Leave `learning_rate` at 1. The authors evaluate with an average of the
    weights: `use_ema=True`. For networks with batch norm they begin at `d0=1e-4`.

    `epsilon` is inside the root, as in the authors' code and optax. Weight decay is decoupled from `G` and shares the
    whole rate; optax adds it to the gradient in front, which is `before=[AddDecayedWeights(0.1)]` here. The first
    distance replaces optax' `init_step=("heuristic", d0)` and, with `relative=False`, `("distance", d0)`.

    A group's factor scales the steps of its variables; the sums count all variables that are trained. Frozen
    variables count in none.

    Memory: 4 bytes per parameter, and two numbers.

    Args:
        learning_rate: A factor on the rate: a number >= 0, a schedule, or a callable without arguments.
        d0: The first distance, > 0; too small costs a few steps, too large may diverge.
        epsilon: Added under the root, >= 0.
        relative: Whether `d0` is multiplied by 1 + |x_0|, the authors' rule.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.DoG(use_ema=True), loss="mse")
    ```

    References:
        Ivgi et al. 2023, https://arxiv.org/abs/2302.12022.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        d0: float = 1e-6,
        epsilon: float = 1e-8,
        *,
        relative: bool = True,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByDog(d0, epsilon, relative=relative), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)

    @property
    def distance(self) -> Any:
        """The largest distance from the start, as a 0-d tensor: 0 before the first step, None before `build`."""
        return self.estimates.get("distance")
