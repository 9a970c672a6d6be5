"""Other people's sign, accumulator and sparse methods, spelt with kopt's arguments.

optax and torch are imported when called: see `oracles.py` and `torch_golden.py`.
"""

from typing import Any

import oracles


def _optax_chain(scale: Any, learning_rate: float, weight_decay: float) -> Any:
    import optax

    return optax.chain(scale, optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(learning_rate))


def optax_sgdw(momentum: float = 0.9, weight_decay: float = 0.005, **kwargs: Any) -> Any:
    return oracles.optax_sgd(momentum=momentum, weight_decay=weight_decay, **kwargs)


def optax_lion(learning_rate: float, beta_1: float, beta_2: float, weight_decay: float = 0.0) -> Any:
    import optax

    return optax.lion(learning_rate, beta_1, beta_2, weight_decay=weight_decay)


def optax_signum(learning_rate: float, momentum: float = 0.9, weight_decay: float = 0.0) -> Any:
    import optax

    scale = optax.chain(optax.ema(momentum, debias=False), optax.scale_by_sign())
    return _optax_chain(scale, learning_rate, weight_decay)


def optax_adagrad(
    learning_rate: float,
    initial_accumulator_value: float = 0.1,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
) -> Any:
    import optax

    return _optax_chain(optax.scale_by_rss(initial_accumulator_value, epsilon), learning_rate, weight_decay)


def optax_adadelta(learning_rate: float, rho: float, epsilon: float, weight_decay: float = 0.0) -> Any:
    import optax

    return _optax_chain(optax.scale_by_adadelta(rho, epsilon), learning_rate, weight_decay)


def optax_madgrad(learning_rate: float, momentum: float, epsilon: float) -> Any:
    import optax

    # Theirs adds epsilon to the learning rate.
    return optax.contrib.madgrad(learning_rate - epsilon, momentum, eps=epsilon)


def optax_sm3(learning_rate: float, momentum: float, epsilon: float, weight_decay: float = 0.0) -> Any:
    import optax

    return _optax_chain(optax.scale_by_sm3(momentum, eps=epsilon), learning_rate, weight_decay)


def optax_novograd(
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float, weight_decay: float = 0.0
) -> Any:
    import optax

    return optax.novograd(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay)


def torch_lion(parameters: Any, learning_rate: float, beta_1: float, beta_2: float, weight_decay: float = 0.0) -> Any:
    import pytorch_optimizer

    return pytorch_optimizer.Lion(parameters, learning_rate, (beta_1, beta_2), weight_decay)


def torch_signum(parameters: Any, learning_rate: float, momentum: float = 0.9, weight_decay: float = 0.0) -> Any:
    import pytorch_optimizer

    return pytorch_optimizer.SignSGD(parameters, learning_rate, momentum, weight_decay)


def torch_adagrad(
    parameters: Any, learning_rate: float, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7
) -> Any:
    import torch

    # Torch's epsilon is outside the root; ours is a part of the initial value.
    start = initial_accumulator_value + epsilon
    return torch.optim.Adagrad(parameters, learning_rate, initial_accumulator_value=start, eps=0.0)


def torch_adadelta(parameters: Any, learning_rate: float, rho: float, epsilon: float) -> Any:
    import torch

    return torch.optim.Adadelta(parameters, learning_rate, rho, epsilon)


def torch_rprop(
    parameters: Any,
    learning_rate: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> Any:
    import torch

    return torch.optim.Rprop(parameters, learning_rate, (eta_minus, eta_plus), (min_step_size, max_step_size))


def torch_madgrad(
    parameters: Any, learning_rate: float, momentum: float, epsilon: float, weight_decay: float = 0.0
) -> Any:
    import pytorch_optimizer

    # Theirs adds epsilon to the learning rate.
    rate = learning_rate - epsilon
    return pytorch_optimizer.MADGRAD(parameters, rate, momentum, weight_decay, weight_decouple=True, eps=epsilon)


def torch_sm3(parameters: Any, learning_rate: float, momentum: float, epsilon: float) -> Any:
    import pytorch_optimizer

    return pytorch_optimizer.SM3(parameters, learning_rate, momentum, eps=epsilon)


def torch_novograd(
    parameters: Any, learning_rate: float, beta_1: float, beta_2: float, epsilon: float, weight_decay: float = 0.0
) -> Any:
    import pytorch_optimizer

    return pytorch_optimizer.NovoGrad(parameters, learning_rate, (beta_1, beta_2), weight_decay, eps=epsilon)


def optax_lazy_adam(lazy: Any = None, **kwargs: Any) -> Any:
    # Where each row has a gradient at each step, lazy Adam is Adam.
    return oracles.optax_adam(**kwargs)
