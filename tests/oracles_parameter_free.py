"""Other people's Prodigy, D-Adaptation, DoG, DoWG and COCOB, spelt with kopt's arguments.

optax and pytorch_optimizer are imported when they are called: most processes have no use for them.
"""

import math
from typing import Any


def optax_prodigy(
    learning_rate: Any = 1.0,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    distance_beta: float | None = None,
    epsilon: float = 1e-8,
    d0: float = 1e-6,
    d_coef: float = 1.0,
    *,
    bias_correction: bool,
    safeguard_warmup: bool = False,
    weight_decay: float = 0.0,
) -> Any:
    from optax import contrib

    assert bias_correction, "optax always corrects"
    return contrib.prodigy(
        learning_rate, (beta_1, beta_2), distance_beta, epsilon, d0, d_coef, weight_decay, safeguard_warmup
    )


def torch_prodigy(
    params: Any,
    learning_rate: float = 1.0,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    distance_beta: float | None = None,
    epsilon: float = 1e-8,
    growth_rate: float | None = None,
    **options: Any,
) -> Any:
    import pytorch_optimizer

    return pytorch_optimizer.Prodigy(
        params,
        learning_rate,
        (beta_1, beta_2),
        distance_beta,
        growth_rate=growth_rate or math.inf,
        eps=epsilon,
        weight_decouple=True,
        **options,
    )


def optax_dadapt_adam(
    learning_rate: Any = 1.0,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    d0: float = 1e-6,
    *,
    bias_correction: bool,
    weight_decay: float = 0.0,
) -> Any:
    from optax import contrib

    assert bias_correction, "optax always corrects"
    return contrib.dadapt_adamw(learning_rate, (beta_1, beta_2), epsilon, d0, weight_decay)


def torch_dadapt_adam(
    params: Any,
    learning_rate: float = 1.0,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    growth_rate: float | None = None,
    **options: Any,
) -> Any:
    import pytorch_optimizer

    return pytorch_optimizer.DAdaptAdam(
        params,
        learning_rate,
        (beta_1, beta_2),
        growth_rate=growth_rate or math.inf,
        eps=epsilon,
        weight_decouple=True,
        foreach=False,
        **options,
    )


def optax_dog(
    learning_rate: Any = 1.0,
    d0: float = 1e-6,
    epsilon: float = 1e-8,
    relative: bool = True,
    weight_decay: float | None = None,
) -> Any:
    from optax import contrib

    return contrib.dog(learning_rate, ("heuristic" if relative else "distance", d0), epsilon, weight_decay)


def optax_dowg(
    learning_rate: Any = 1.0, d0: float = 1e-2, epsilon: float = 1e-4, weight_decay: float | None = None
) -> Any:
    from optax import contrib

    return contrib.dowg(learning_rate, d0**2, epsilon, weight_decay)


def optax_cocob(bet_divisor: float = 100.0, epsilon: float = 1e-8, weight_decay: float = 0.0) -> Any:
    from optax import contrib

    return contrib.cocob(1.0, bet_divisor, epsilon, weight_decay)


def optax_mechanic(
    inner: Any, s_init: float = 1e-6, weight_decay: float = 1e-2, num_betas: int = 6, epsilon: float = 1e-8
) -> Any:
    """optax' sum of steps loses epsilon / s of itself at each step: the smaller epsilon is beside s, the nearer."""
    from optax import contrib

    return contrib.mechanize(inner, weight_decay, epsilon, s_init, num_betas)
