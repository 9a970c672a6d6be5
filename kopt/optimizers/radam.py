"""RAdam: Adam that warms itself up."""

from typing import Unpack

from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLearningRate, ScaleByRadam


@register
class RAdam(ComposedOptimizer):
    """Adam, with steps held back while too few gradients have been seen to know their mean square.

    ```
    m      <- beta_1 m + (1 - beta_1) g
    v      <- beta_2 v + (1 - beta_2) g^2
    rho_inf = 2 / (1 - beta_2) - 1
    rho     = rho_inf - 2 t beta_2^t / (1 - beta_2^t)
    r       = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
    u       = r (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)     rho >= 5
    u       = m / (1 - beta_1^t)                                                 else
    x      <- x - learning_rate (u + weight_decay x)
    ```

    With beta_2 = 0.999 the first five steps are plain momentum, in the scale of the gradient: clip gradients that are
    large at the start. The bound on rho is that of the authors' code, torch and optax; the paper has 4. `epsilon` is
    outside the root and behind the bias correction, as in optax; torch adds it before, and the paper has none. Weight
    decay, if any, is decoupled; torch adds it to the gradient unless told otherwise.

    Memory: 8 bytes per parameter.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments.
        beta_1: Decay rate of the average of gradients, in [0, 1).
        beta_2: Decay rate of the average of squared gradients, in [0, 1).
        epsilon: Added to the root, >= 0.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.RAdam(1e-3), loss="mse")
    ```

    References:
        Liu et al. 2019, https://arxiv.org/abs/1908.03265.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1e-3,
        beta_1: Hyperparameter = 0.9,
        beta_2: Hyperparameter = 0.999,
        epsilon: Hyperparameter = 1e-8,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [ScaleByRadam(beta_1, beta_2, epsilon), AddDecayedWeights(), ScaleByLearningRate()]
        super().__init__(recipe, learning_rate, **keywords)
