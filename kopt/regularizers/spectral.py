"""A penalty on the largest singular value of a kernel."""

from typing import Any, ClassVar

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.regularizers.matrices import gram_times, leading, tall_matrices
from kopt.regularizers.penalty import Penalty


@register
class SpectralPenalty(Penalty):
    """Penalty `factor * sigma_max(W)^2` on the largest singular value: outputs change less when inputs do.

    The gradient is `2 * factor * sigma u v^T`, so only the most stretched direction is held. sigma is found by power
    iteration from the same vector each time, and is never above the true one; W is the kernel as in `SoftOrthogonal`.
    The paper writes lambda / 2: factor = lambda / 2. It takes 1 iteration and keeps the vector from step to step; here
    nothing is kept, and 20 is the default.

    Costs about 4 * iterations * rows * columns multiplications and additions in a step. A convolution stretches its
    inputs by sigma at least, and by sqrt(height * width) * sigma at most.

    Args:
        factor: Strength, >= 0, or a schedule of it: as in `L1`. The paper uses lambda = 0.01.
        iterations: Of the power iteration, >= 1.
        depthwise: As in `SoftOrthogonal`; the penalties of the matrices are added.

    Raises:
        ValueError: `factor` is as `L1` refuses it, `iterations` is no integer >= 1, or the weight has fewer than two
            dimensions.

    Example:

    ```python
    keras.layers.Dense(64, kernel_regularizer=kopt.regularizers.SpectralPenalty(0.005))
    ```

    References:
        Yoshida & Miyato 2017, https://arxiv.org/abs/1705.10941.
    """

    extra: ClassVar[tuple[str, ...]] = ("iterations", "depthwise")

    def __init__(self, factor: Hyperparameter = 0.01, iterations: int = 20, *, depthwise: bool = False) -> None:
        self.begin(factor=factor)
        self.iterations = checks.count("iterations", iterations)
        self.depthwise = checks.flag("depthwise", depthwise)

    def penalty(self, x: Any) -> Any:
        w = tall_matrices(x, type(self).__name__, depthwise=self.depthwise)
        v = leading(gram_times, w, self.iterations)
        return ops.sum(ops.square(ops.matmul(w, v)))
