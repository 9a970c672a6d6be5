"""Other people's SOAP and Shampoo, spelt with kopt's arguments; pytorch_optimizer is imported when it is called."""

from typing import Any


def torch_soap(
    params: Any,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float,
    precondition_frequency: int,
    max_precondition_dimension: int = 10000,
) -> Any:
    from pytorch_optimizer import SOAP

    assert not weight_decay, "theirs decays behind the step"
    return SOAP(
        params,
        learning_rate,
        (beta_1, beta_2),
        weight_decay=0.0,
        precondition_frequency=precondition_frequency,
        max_precondition_dim=max_precondition_dimension,
        eps=epsilon,
    )


def torch_shampoo(
    params: Any,
    learning_rate: float,
    beta_1: float,
    epsilon: float,
    precondition_frequency: int,
    start_preconditioning_step: int,
    grafting: None,
    accumulate: bool,
) -> Any:
    from pytorch_optimizer import Shampoo

    assert (beta_1, epsilon, grafting, accumulate) == (0.0, 0.0, None, True)
    assert start_preconditioning_step == precondition_frequency == 1
    return Shampoo(params, learning_rate, matrix_eps=1e-30)


def torch_scalable_shampoo(
    params: Any,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    momentum: float,
    block_size: int,
    precondition_frequency: int,
    start_preconditioning_step: int,
    grafting: str,
    grafting_epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> Any:
    from pytorch_optimizer import ScalableShampoo
    from pytorch_optimizer.optimizer.shampoo import LayerWiseGrafting

    assert (beta_1, epsilon) == (0.0, 0.0)
    assert start_preconditioning_step == precondition_frequency == 1
    return ScalableShampoo(
        params,
        learning_rate,
        (momentum, beta_2),
        weight_decay=weight_decay,
        decoupled_weight_decay=True,
        start_preconditioning_step=1,
        preconditioning_compute_steps=1,
        block_size=block_size,
        shape_interpretation=False,
        graft_type={"sgd": LayerWiseGrafting.SGD, "rmsprop": LayerWiseGrafting.RMSPROP}[grafting],
        nesterov=False,
        diagonal_eps=grafting_epsilon,
        matrix_eps=1e-30,
        use_svd=True,
    )
