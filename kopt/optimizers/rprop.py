"""Rprop."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByRprop


@register
class Rprop(ComposedOptimizer):
    """Gives each weight a step of its own, which grows while its gradient keeps its sign and shrinks when it turns.

    ```
    s  = sign(g) sign(g before)
    d <- clip(d eta_plus, min_step_size, max_step_size)          where s > 0
    d <- clip(d eta_minus, min_step_size, max_step_size)         where s < 0; there g <- 0
    x <- x - d sign(g) - learning_rate weight_decay x
    ```

    For gradients of all the data: signs of mini-batches turn by chance, and the steps shrink to nothing. After a change
    of sign a weight waits for one step, and the first step is clipped, too, as in torch. optax takes each step one
    gradient later.

    `learning_rate` is the `d` of the first step. A schedule cannot act on steps that grow and shrink by themselves:
    later rates are not looked at, except that 0 holds the weights, and that weight decay, which is decoupled, follows
    them. A `Group`'s factor scales the first step of its variables.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: The first step of each weight: a number >= 0, a schedule, or a callable without arguments.
        eta_minus: Factor on the step after a change of sign, in [0, 1).
        eta_plus: Factor on the step while the sign stays, >= 1.
        min_step_size: Smallest step, > 0.
        max_step_size: Largest step, >= `min_step_size`.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.Rprop(0.01), loss="mse")
    ```

    References:
        Riedmiller and Braun 1993, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm".
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        eta_minus: Hyperparameter = 0.5,
        eta_plus: Hyperparameter = 1.2,
        min_step_size: float = 1e-6,
        max_step_size: float = 50.0,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            ScaleByRprop(eta_minus, eta_plus, min_step_size, max_step_size),
            AddDecayedWeights(),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
