"""LARS: gradient descent with a step in proportion to the size of each variable."""

from typing import Unpack

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, Momentum, ScaleByLearningRate, TrustRatio


@register
class LARS(ComposedOptimizer):
    """Momentum on gradients that are scaled, for each variable, to a share of the variable's norm.

    ```
    u  = g + weight_decay x
    u <- u trust_coefficient |x| / (|u| + epsilon)                        joint norm, as in optax
    u <- u trust_coefficient |x| / (|g| + weight_decay |x| + epsilon)     separate_norms, as in the paper
    m <- momentum m + learning_rate u
    x <- x - m                                                            plain
    x <- x - learning_rate u - momentum m                                 Nesterov
    ```

    Made for convolutional networks on batches of thousands of samples. The norms are Euclidean, one pair for each
    variable; where one of them is 0 the ratio is 1. Weight decay is added to the gradient and scaled with it. The
    learning rate stands inside the momentum buffer, as in the paper and optax: a new rate acts on new gradients only.

    Memory: 4 bytes per parameter, 0 without momentum.

    Args:
        learning_rate: A number >= 0, a schedule, or a callable without arguments. Each gradient moves a variable by
            `learning_rate * trust_coefficient` of its norm: rates are larger than those of `SGD`.
        momentum: In [0, 1); 0 keeps no buffer.
        trust_coefficient: > 0.
        epsilon: Added to the divisor of the ratio, >= 0.
        nesterov: Whether to look one step ahead; needs momentum.
        separate_norms: Whether gradient and decay count in the divisor by the norm of each, not by the norm of their
            sum. Without weight decay both are the same.
        scale_vectors: Whether variables of fewer than two dimensions (biases, the gains of norms) are scaled, too, as
            in the paper and optax. Many training scripts give them plain momentum: False.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    no_decay = kopt.optimizers.Group("bias$|gamma$|beta$", weight_decay=0.0)
    optimizer = kopt.optimizers.LARS(4.0, weight_decay=1e-4, groups=[no_decay], scale_vectors=False)
    ```

    References:
        You et al. 2017, https://arxiv.org/abs/1708.03888.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        momentum: Hyperparameter = 0.9,
        trust_coefficient: Hyperparameter = 1e-3,
        epsilon: Hyperparameter = 0.0,
        *,
        nesterov: bool = False,
        separate_norms: bool = False,
        scale_vectors: bool = True,
        **keywords: Unpack[Keywords],
    ) -> None:
        trace = Momentum(momentum, nesterov=nesterov)
        if nesterov and not momentum:
            raise ValueError(f"`nesterov=True` needs `momentum` > 0. Received: momentum={momentum!r}.")
        is_separate = checks.flag("separate_norms", separate_norms)
        ratio = TrustRatio(trust_coefficient, epsilon, None if is_separate else 0.0, scale_vectors=scale_vectors)
        decay = [] if is_separate else [AddDecayedWeights()]
        recipe = [*decay, ratio, ScaleByLearningRate(), *([trace] if momentum else [])]
        super().__init__(recipe, learning_rate, **keywords)
