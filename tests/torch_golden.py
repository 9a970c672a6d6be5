"""Paths of torch's optimizers on the parity problem, kept as files: most machines that run the tests have no torch.

`python tests/torch_golden.py` writes one file per row of the catalogue that has a `"torch"` oracle. It needs torch and
`pip install --no-deps pytorch_optimizer==4.1.0`; the tests need neither.
"""

import json
import pathlib
from typing import Any

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "golden" / "torch"


def file_of(case: Any) -> pathlib.Path:
    """Returns where the path of a row is kept."""
    return FOLDER / f"{case.id}.json"


def stored(case: Any) -> list[list[np.ndarray]]:
    """Returns the weights after each step, as `main` wrote them."""
    steps = json.loads(file_of(case).read_text())
    shapes = case.shapes.values()
    return [[np.reshape(x, shape) for x, shape in zip(step, shapes, strict=True)] for step in steps]


def computed(case: Any, start: list[np.ndarray], gradients: list[list[np.ndarray]]) -> list[list[list[float]]]:
    """Runs the oracle in float64; returns the weights after each step, flat."""
    import torch

    def turned(x: np.ndarray) -> np.ndarray:
        return x.T if case.transposed and x.ndim > 1 else x

    def tensor(x: np.ndarray) -> Any:
        return torch.tensor(np.array(turned(x), "float64"), dtype=torch.float64)

    parameters = [torch.nn.Parameter(tensor(x)) for x in start]
    optimizer, path = case.oracles["torch"](parameters, **case.kwargs), []
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = tensor(gradient)
        optimizer.step()
        values = [turned(parameter.detach().numpy()) for parameter in parameters]
        path.append([[float(f"{x:.9g}") for x in value.ravel()] for value in values])
    return path


def main() -> None:
    """Writes all files."""
    import catalog
    from test_parity import problem

    FOLDER.mkdir(exist_ok=True)
    wanted = [case for case in catalog.CASES if "torch" in case.oracles]
    for stale in set(FOLDER.glob("*.json")) - {file_of(case) for case in wanted}:
        stale.unlink()
    for case in wanted:
        file_of(case).write_text(json.dumps(computed(case, *problem(case.shapes))) + "\n")


if __name__ == "__main__":
    main()
