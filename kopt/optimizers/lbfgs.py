"""L-BFGS, one gradient a step."""

from typing import Unpack

from kopt._core.configured import register
from kopt.optimizers.driver import ComposedOptimizer
from kopt.optimizers.keywords import Keywords, LearningRate
from kopt.transforms import AddDecayedWeights, ScaleByLBFGS, ScaleByLearningRate


@register
class LBFGS(ComposedOptimizer):
    """Quasi-Newton steps from the last few changes of the gradient, with a line search that goes on from step to step.

    ```
    g  = gradient + weight_decay x
    d  = -learning_rate H g                        H: two-loop recursion over the last `memory` pairs
    x <- x + alpha d                               one trial point a step
    accepted if  (2 decrease - 1) f'(0) >= f'(alpha) >= curvature f'(0),  f(a) the loss at x + a d
    ```

    It is for full batches and a loss that is the same each time: `fit(batch_size=len(x))`, no dropout, no augmentation.
    Where all samples at once do not fit into memory, `gradient_accumulation_steps` makes one gradient of several
    batches, if each epoch is a whole number of them. Small convex and least-squares problems, physics-informed
    networks and the last digits of a fit are what it is good at.

    A step of `fit` is one evaluation of the gradient. Most trial points are accepted; where one is not, the next step
    tries another point on the same line, so that the loss may go up for a step or two, and the last step of a `fit`
    leaves a trial point that nothing has judged yet. The search uses slopes only: where the loss is not convex it may
    accept a point that is higher than the one before. torch's and SciPy's methods evaluate the loss several times in
    one step; here the number of epochs is the number of evaluations.

    With `line_search=False` each point is accepted and the learning rate is the length: torch's `LBFGS` without a line
    search (and one iteration a step). Weight decay is added to the gradient, as is right for a method that measures
    curvature: the loss that is minimized is the model's plus `weight_decay / 2 |x|^2`. A group's factor on the rate
    shortens that part of the direction. A change of the variables that have gradients starts the method anew.

    Memory: 92 bytes per parameter: 8 for each pair, and 12. Extra compute: some 8 `memory` multiplications per weight.

    Args:
        learning_rate: The first trial step on each line, in units of the quasi-Newton step: any other than 1 costs
            trials. A number >= 0, a schedule, or a callable without arguments.
        memory: How many pairs of changes to keep, >= 1.
        decrease: In [0, 1/2): how much of the slope must be gone on the far side of the minimum. 0 accepts any point
            where the loss rises no faster than it fell at the start.
        curvature: In [0, 1), not less than `decrease`: how much of the slope may be left on the near side.
        epsilon: A pair is kept if the cosine between its changes of weights and gradient is above this, >= 0.
        line_search: Whether to search.
        **keywords: `weight_decay`, `groups`, `before`, `after`, clipping, averaging, accumulation and `name`: see
            `ComposedOptimizer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An unknown argument.

    Example:

    ```python
    model.compile(optimizer=kopt.optimizers.LBFGS(), loss="mse")
    model.fit(x, y, batch_size=len(x), epochs=200)
    ```

    References:
        Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization"; Hager and Zhang 2005, "A
        new conjugate gradient method with guaranteed descent and an efficient line search".
    """

    def __init__(
        self,
        learning_rate: LearningRate = 1.0,
        memory: int = 10,
        decrease: float = 0.1,
        curvature: float = 0.9,
        epsilon: float = 1e-8,
        *,
        line_search: bool = True,
        **keywords: Unpack[Keywords],
    ) -> None:
        recipe = [
            AddDecayedWeights(),
            ScaleByLBFGS(memory, decrease, curvature, epsilon, line_search=line_search),
            ScaleByLearningRate(),
        ]
        super().__init__(recipe, learning_rate, **keywords)
