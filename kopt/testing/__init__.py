"""Test suites to inherit from: is this optimizer, is this transform, a good citizen?"""

import pytest

_PARTS = ("config_checks", "group_checks", "optimizer_contract", "step_checks", "training_checks", "transform_contract")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from kopt.testing.optimizer_contract import OptimizerContract, OptimizerMatrix  # noqa: E402
from kopt.testing.transform_contract import TransformContract  # noqa: E402

__all__ = ["OptimizerContract", "OptimizerMatrix", "TransformContract"]
