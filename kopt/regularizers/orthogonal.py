"""Penalties on the distance of a kernel from one with orthonormal columns."""

from typing import Any, ClassVar

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.regularizers.matrices import gram_times, leading, norms, tall_matrices
from kopt.regularizers.penalty import Penalty


@register
class SoftOrthogonal(Penalty):
    """Penalty `factor * ||W^T W - I||_F^2`: the columns of the kernel shall be orthonormal.

    W is the kernel as a matrix (inputs, outputs), of convolutions (height * width * in, out), or its transpose,
    whichever has fewer columns. Other kernels too are taken with the last axis as output: attention's (in, heads, size)
    as (in * heads, size). Double soft orthogonality, `||W^T W - I||^2 + ||W W^T - I||^2`, is twice this and a constant.

    Costs about rows * columns^2 multiplications in a step.

    Args:
        factor: Strength, >= 0, or a schedule of it: as in `L1`. Bansal et al. lower it in the course of training.
        depthwise: Whether the kernels are those of depthwise convolutions, (height, width, in, multiplier): then each
            input channel has a matrix (height * width, multiplier) of its own. Shapes alone do not tell.

    Raises:
        ValueError: `factor` is as `L1` refuses it, or the weight has fewer than two dimensions.
        TypeError: `depthwise` is given without its name.

    Example:

    ```python
    keras.layers.Conv2D(64, 3, kernel_regularizer=kopt.regularizers.SoftOrthogonal(1e-3))
    ```

    References:
        Bansal et al. 2018, equations 1 to 3, https://arxiv.org/abs/1810.09102.
    """

    extra: ClassVar[tuple[str, ...]] = ("depthwise",)

    def __init__(self, factor: Hyperparameter = 0.01, *, depthwise: bool = False) -> None:
        self.begin(factor=factor)
        self.depthwise = checks.flag("depthwise", depthwise)

    def penalty(self, x: Any) -> Any:
        w = tall_matrices(x, type(self).__name__, depthwise=self.depthwise)
        gram = ops.matmul(ops.transpose(w, (0, 2, 1)), w)
        return ops.sum(ops.square(gram - ops.eye(int(w.shape[-1]), dtype=w.dtype)))


@register
class SRIP(Penalty):
    """Penalty `factor * sigma(W^T W - I)`: no vector shall be stretched or shrunk much (spectral restricted isometry).

    sigma is the largest absolute eigenvalue, by power iteration from the same vector each time; W as in
    `SoftOrthogonal`. The estimate is never above sigma. It is `||A v||` with A = W^T W - I and v as the iteration left
    it, a constant to the gradient. The paper takes 2 iterations from a random vector; here the start is fixed,
    and 20 is the default.

    Costs about 4 * iterations * rows * columns multiplications and additions in a step.

    Args:
        factor: Strength, >= 0, or a schedule of it: as in `L1`.
        iterations: Of the power iteration, >= 1.
        depthwise: As in `SoftOrthogonal`; the penalties of the matrices are added.

    Raises:
        ValueError: `factor` is as `L1` refuses it, `iterations` is no integer >= 1, or the weight has fewer than two
            dimensions.

    Example:

    ```python
    keras.layers.Conv2D(64, 3, kernel_regularizer=kopt.regularizers.SRIP(1e-2))
    ```

    References:
        Bansal et al. 2018, section 3.4, https://arxiv.org/abs/1810.09102.
    """

    extra: ClassVar[tuple[str, ...]] = ("iterations", "depthwise")

    def __init__(self, factor: Hyperparameter = 0.01, iterations: int = 20, *, depthwise: bool = False) -> None:
        self.begin(factor=factor)
        self.iterations = checks.count("iterations", iterations)
        self.depthwise = checks.flag("depthwise", depthwise)

    def penalty(self, x: Any) -> Any:
        w = tall_matrices(x, type(self).__name__, depthwise=self.depthwise)
        return ops.sum(norms(_residual(w, leading(_residual, w, self.iterations))))


def _residual(w: Any, v: Any) -> Any:
    """Returns (W^T W - I) v."""
    return gram_times(w, v) - v
