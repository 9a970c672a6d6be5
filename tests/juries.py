"""Which tests judge a changed file: those that look at its mathematics, the quick ones first, then more in full."""

import contextlib
import functools
import importlib
import inspect
import io
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mutations import ROOT, module_of

ESTIMATED = ("test_parameter_free.py", "test_estimates.py")
STACKED = "test_transforms_stacked.py"
FACTORS = (STACKED, "test_preconditioned.py")
ABOUT: dict[str, tuple[str, ...]] = {
    "averaging": ("test_averages.py", "test_averaged_weights.py", "test_skip.py"),
    "averages": ("test_averages.py", "test_averaged_weights.py", "test_wrappers.py", "test_order.py"),
    "batch_size": ("test_batch_size.py",),
    "cocob": ESTIMATED,
    "dadapt": ESTIMATED,
    "dog": ESTIMATED,
    "freeze": ("test_freeze.py", "test_order.py"),
    "guarding": ("test_skip.py",),
    "kron": (STACKED, "test_orthogonal.py"),
    "lbfgs": ("test_lbfgs_search.py", "test_lbfgs.py"),
    "mechanic": ("test_mechanic.py", "test_wrappers.py", "test_order.py"),
    "model_groups": ("test_model_groups.py",),
    "noise": ("test_noise.py",),
    "orthogonal": (STACKED, "test_orthogonal.py"),
    "partition": ("test_orthogonal.py", "test_transforms_lazy.py"),
    "plateau": ("test_plateau.py", "test_wrappers.py"),
    "prodigy": ESTIMATED,
    "radam": ("test_adaptive.py",),
    "sam": ("test_sam.py",),
    "schedule_free": ("test_averages.py", "test_averaged_weights.py"),
    "shampoo": FACTORS,
    "skip": ("test_skip.py", "test_wrappers.py", "test_order.py"),
    "soap": FACTORS,
    "transform": ("test_scheduled.py",),
}
TRANSFORMS = tuple(f"test_transforms_{name}.py" for name in ("edges", "accumulators", "lazy", "norms"))
SCHEDULES = tuple(f"test_schedule{name}.py" for name in ("_fractions", "s", "_laws", "_errors"))
ALWAYS = {"kopt/transforms": (*TRANSFORMS, "test_parity.py"), "kopt/schedules": SCHEDULES}


def users_of(name: str) -> set[type]:
    """Returns the public transforms that a module defines, or that are defined in a module which imports it."""
    public = [kind for kind in vars(importlib.import_module("kopt.transforms")).values() if isinstance(kind, type)]
    sources = {kind: pathlib.Path(sys.modules[kind.__module__].__file__ or "").read_text() for kind in public}
    return {kind for kind in public if kind.__module__ == name or f"from {name} import" in sources[kind]}


def judges(path: str) -> list[Callable[[], None]]:
    """Returns the quick tests that look at a module; of a folder that is no family of rows, the files about it."""
    folder = pathlib.Path(path).parent.as_posix()
    if folder in ALWAYS:
        return (schedule_judges if folder == "kopt/schedules" else transform_judges)(path)
    return [functools.partial(all_pass, file) for file in ABOUT[pathlib.Path(path).stem]]


def all_pass(file: str) -> None:
    """Raises if a test of a file fails."""
    if is_failing([file], ""):
        raise AssertionError(f"A test of {file} fails.")


def schedule_judges(path: str) -> list[Callable[[], None]]:
    """Returns the quick tests of schedules: rows of the module's own classes first, then the others and the errors."""
    import catalog
    import hypothesis

    # Whoever has found an example that fails need not look for a shorter one.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", phases=phases, database=None, deadline=None)
    hypothesis.settings.load_profile("mutants")
    import test_bad_input
    import test_schedule_errors
    import test_schedule_fractions
    import test_schedule_laws
    import test_schedules

    found: list[Callable[[], None]] = []
    own = module_of(path).__name__
    for case in sorted(catalog.SCHEDULE_CASES, key=lambda case: case.schedule_class.__module__ != own):
        for test in (test_schedules.test_equals_the_closed_form, test_schedules.test_keeps_shape_and_gives_float32):
            found.append(lambda case=case, test=test: test(case))
    for parameter in test_bad_input.arguments():
        if parameter.values[0].__module__ == own:
            found.append(lambda values=parameter.values: test_bad_input.test_every_argument_keeps_its_rule(*values))
    found += [lambda row=row: test_schedule_errors.test_bad_value(*row) for row in test_schedule_errors.ROWS]
    for module in (test_schedule_fractions, test_schedules, test_schedule_laws):
        tests = [test for name, test in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")]
        found += [test for test in tests if not inspect.signature(test).parameters]
    return found


def transform_judges(path: str) -> list[Callable[[], None]]:
    """Returns the quick tests of the transforms of a module."""
    import catalog
    import test_bad_input
    import test_contract
    import test_parity

    users = users_of(module_of(path).__name__)
    found: list[Callable[[], None]] = []
    for case in rows_of(path):
        found.append(lambda case=case: test_parity.test_equals_the_paper_in_float64(case))
        if "torch" in case.oracles:
            found.append(lambda case=case: test_parity.test_equals_the_stored_path_of_torch(case))
    for case in catalog.TRANSFORMS:
        if case.kind not in users:
            continue
        suite = test_contract.transform_contract(case)()
        for test in dir(suite):
            if test.startswith("test_"):
                found += list(contract_calls(getattr(suite, test), case))
        for parameter in test_bad_input.arguments():
            if parameter.values[0] is case.kind:
                found.append(lambda values=parameter.values: test_bad_input.test_every_argument_keeps_its_rule(*values))
    return found


def rows_of(path: str) -> list[Any]:
    """Returns the rows of the catalogue whose optimizers use a module of transforms."""
    import catalog
    import keras
    import numpy as np

    users, found = users_of(module_of(path).__name__), []
    for case in catalog.CASES:
        optimizer = case.make()
        optimizer.build([keras.Variable(np.zeros(shape, "float32"), name=n) for n, shape in case.shapes.items()])
        if {type(stage.transform) for stage in optimizer._plan.stages} & users:
            found.append(case)
    return found


def contract_calls(test: Any, case: Any) -> Iterator[Callable[[], None]]:
    """Yields a test of the contract with each of the arguments that it is parametrized over."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for value in marks[0].args[1] if marks else [None]:
        yield lambda value=value: test(case.make, value) if marks else test(case.make)


def is_noticed(judge: Callable[[], None]) -> bool:
    """Returns whether a judge fails; one that skips does not."""
    import keras
    import pytest

    keras.utils.set_random_seed(0)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            judge()
    except pytest.skip.Exception:
        return False
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return True
    return False


def full_trial(path: str) -> bool:
    """Returns whether the tests of a file in full notice something: those about it, and parity by hand.

    Left out of parity: the rows that a quick judge has compared with float64 already, on the same steps.
    """
    folder, stem = pathlib.Path(path).parent.as_posix(), pathlib.Path(path).stem
    if folder not in ALWAYS:
        return False
    words = "not test_equals and not argument_differs" if folder == "kopt/transforms" else ""
    first, *rest = ALWAYS[folder]
    return is_failing([first, *ABOUT.get(stem, ()), *rest], words)


def is_failing(files: Sequence[str], words: str) -> bool:
    """Returns whether pytest finds a failing test in files of this folder."""
    import pytest

    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow", "-k", words]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return (
            pytest.main([*arguments, *(str(ROOT / "tests" / file) for file in files)]) == pytest.ExitCode.TESTS_FAILED
        )
