"""Rates of torch's and pytorch_optimizer's schedulers, kept as files: most machines that run the tests have no torch.

`python tests/torch_schedules.py` writes one file per schedule in the catalogue that has a `"torch"` oracle. What it
needs is what `torch_golden.py` needs; the tests need neither.
"""

import json
import pathlib
from typing import Any

FOLDER = pathlib.Path(__file__).parent / "golden" / "torch_schedules"


def file_of(case: Any) -> pathlib.Path:
    """Returns where the rates of a row are kept."""
    return FOLDER / f"{case.id}.json"


def stored(case: Any) -> list[float]:
    """Returns the rates of a run, as `main` wrote them."""
    return json.loads(file_of(case).read_text())


def main() -> None:
    """Writes all files."""
    import catalog

    FOLDER.mkdir(exist_ok=True)
    wanted = [case for case in catalog.SCHEDULE_CASES if "torch" in case.oracles]
    for stale in set(FOLDER.glob("*.json")) - {file_of(case) for case in wanted}:
        stale.unlink()
    for case in wanted:
        rates = [float(f"{rate:.9g}") for rate in case.oracles["torch"](case.steps)]
        file_of(case).write_text(json.dumps(rates) + "\n")


if __name__ == "__main__":
    main()
