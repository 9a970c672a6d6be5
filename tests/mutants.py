"""Do the tests notice when the mathematics is wrong? `make mutants` changes one thing at a time and runs the judges.

A mutant is one change of an operator, a constant, a function or a branch inside a function of `kopt/transforms` or,
with `--folder`, of `kopt/schedules`. The judges are the tests of this suite that look at mathematics. For transforms:
for each row of the catalogue that uses the changed module, the parity with float64 NumPy and with torch's stored paths;
for each transform, its contract and argument rules. For schedules: closed forms, rules, errors and laws. A mutant that
they all pass faces parity and contract in full, or the tests of fractions. What then lives needs a reason in
`mutants_survivors.json`, or this script fails.
Signatures' defaults, annotations, messages and docstrings are not changed: the golden files hold defaults.

    KERAS_BACKEND=torch python tests/mutants.py [--only adam.py] [--workers 2]
"""

import argparse
import ast
import contextlib
import copy
import importlib
import inspect
import io
import json
import multiprocessing
import os
import pathlib
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
REASONS = pathlib.Path(__file__).with_name("mutants_survivors.json")
SECONDS = 120

SWAPPED: dict[type, list[type]] = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.FloorDiv: [ast.Div],
    ast.Mod: [ast.FloorDiv],
    ast.MatMult: [ast.Mult],
    ast.Lt: [ast.LtE],
    ast.LtE: [ast.Lt],
    ast.Gt: [ast.GtE],
    ast.GtE: [ast.Gt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
}
RENAMED = {
    "maximum": "minimum",
    "minimum": "maximum",
    "sum": "mean",
    "mean": "sum",
    "max": "min",
    "sqrt": "square",
    "square": "absolute",
    "rsqrt": "sqrt",
    "sign": "tanh",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "not_equal": "equal",
    "equal": "not_equal",
    "greater": "less",
    "less": "greater",
    "any": "all",
    "all": "any",
    "logical_and": "logical_or",
    "logical_or": "logical_and",
}


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, how it reads, and the changed module as a tree."""

    path: str
    function: str
    change: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Names the mutant without line numbers, so that a listed survivor stays listed when the file moves."""
        return f"{self.path}::{self.function}: {self.change}"


def changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yields changed copies of one node, with the field that says what changed."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        for kind in SWAPPED.get(type(node.op), []):
            yield "op", kind()
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for kind in SWAPPED.get(type(node.ops[0]), []):
            yield "ops", [kind()]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "self", node.operand
    elif isinstance(node, ast.IfExp):
        yield "self", ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "value", not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "value", node.value + 1 if isinstance(node.value, int) or not node.value else node.value * 1.5
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RENAMED:
        yield "func", ast.Attribute(node.func.value, RENAMED[node.func.attr], ast.Load())
    elif isinstance(node, ast.If):
        yield "test", ast.UnaryOp(ast.Not(), node.test)


def is_left_alone(node: ast.AST) -> bool:
    """Returns whether nothing below the node is mathematics: messages, raises, annotations."""
    if isinstance(node, ast.Raise | ast.arguments | ast.JoinedStr):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("checks.", "ValueError"))


def inside(function: ast.FunctionDef) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Yields (parent, field, index, node) for each node of a function's body."""
    waiting: list[ast.AST] = [ast.Module(function.body, [])]
    while waiting:
        parent = waiting.pop()
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "decorator_list", "args") and isinstance(parent, ast.FunctionDef):
                continue
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.AST) and field != "annotation" and not is_left_alone(node):
                    yield parent, field, index, node
                    waiting.append(node)


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yields the functions of a module and of its classes, by dotted name."""
    for node in tree.body:
        for owner, member in [("", node)] + [(f"{getattr(node, 'name', '')}.", m) for m in getattr(node, "body", [])]:
            if isinstance(member, ast.FunctionDef):
                yield owner + member.name, member


def mutants(path: pathlib.Path) -> Iterator[Mutant]:
    """Yields every mutant of a file."""
    original = ast.parse(path.read_text())
    for name, function in functions(original):
        seen: dict[str, int] = {}
        for place, (_, _, _, node) in enumerate(inside(function)):
            for which, (field, _) in enumerate(changes(node)):
                tree = copy.deepcopy(original)
                twin = dict(functions(tree))[name]
                parent, slot, index, found = list(inside(twin))[place]
                value = list(changes(found))[which][1]
                before = ast.unparse(found)
                if field == "self":
                    replaced = value
                else:
                    setattr(found, field, value)
                    replaced = found
                if slot == "body" and isinstance(parent, ast.Module):
                    twin.body[index or 0] = replaced  # type: ignore[call-overload]
                elif index is None:
                    setattr(parent, slot, replaced)
                else:
                    getattr(parent, slot)[index] = replaced
                change = f"{first_line(before)} -> {first_line(ast.unparse(replaced))}"
                seen[change] = seen.get(change, 0) + 1
                change += f" ({seen[change]})" if seen[change] > 1 else ""
                yield Mutant(path.relative_to(ROOT).as_posix(), name, change, ast.fix_missing_locations(tree))


def first_line(code: str) -> str:
    """Returns what identifies a piece of code in a list."""
    return code.splitlines()[0]


def module_of(path: str) -> types.ModuleType:
    """Returns the imported module of a file."""
    return importlib.import_module(path.removesuffix(".py").replace("/", "."))


def live_function(module: types.ModuleType, name: str) -> Any:
    """Returns the function object that runs under a dotted name, inside the wrappers of properties and configs."""
    owner, _, member = name.rpartition(".")
    found = vars(getattr(module, owner))[member] if owner else getattr(module, member)
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    return getattr(found, "__wrapped__", found)


def code_of(mutant: Mutant) -> types.CodeType:
    """Returns the compiled body of the mutant's function."""
    code: Any = compile(mutant.tree, mutant.path, "exec")
    for part in mutant.function.split("."):
        code = next(c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == part)
    return code


@contextlib.contextmanager
def alive(mutant: Mutant) -> Iterator[None]:
    """Puts the mutant's code into the running process for a while."""
    function = live_function(module_of(mutant.path), mutant.function)
    original = function.__code__
    function.__code__ = code_of(mutant)
    try:
        yield
    finally:
        function.__code__ = original


def users_of(name: str) -> set[type]:
    """Returns the public transforms that a module defines, or that are defined in a module which imports it."""
    public = [kind for kind in vars(importlib.import_module("kopt.transforms")).values() if isinstance(kind, type)]
    sources = {kind: pathlib.Path(sys.modules[kind.__module__].__file__ or "").read_text() for kind in public}
    return {kind for kind in public if kind.__module__ == name or f"from {name} import" in sources[kind]}


def judges(path: str) -> list[Callable[[], None]]:
    """Returns the quick tests that look at a module, the likeliest to notice first."""
    return (schedule_judges if path.startswith("kopt/schedules/") else transform_judges)(path)


def schedule_judges(path: str) -> list[Callable[[], None]]:
    """Returns the quick tests of schedules: rows of the module's own classes first, then the others and the errors."""
    import catalog
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
    import keras
    import numpy as np
    import test_bad_input
    import test_contract
    import test_parity

    users = users_of(module_of(path).__name__)
    found: list[Callable[[], None]] = []
    for case in catalog.CASES:
        optimizer = case.make()
        optimizer.build([keras.Variable(np.zeros(shape, "float32"), name=n) for n, shape in case.shapes.items()])
        if {type(stage.transform) for stage in optimizer._plan.stages} & users:
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


def contract_calls(test: Any, case: Any) -> Iterator[Callable[[], None]]:
    """Yields a test of the contract with each of the arguments that it is parametrized over."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for value in marks[0].args[1] if marks else [None]:
        yield lambda value=value: test(case.make, value) if marks else test(case.make)


def is_noticed(judge: Callable[[], None]) -> bool:
    """Returns whether a judge fails; one that skips does not."""
    import pytest

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
    """Returns whether the parity and contract tests in full notice something, or those of fractions of a run."""
    import catalog
    import pytest

    name = module_of(path).__name__
    kinds = [case.kind.__name__ for case in catalog.TRANSFORMS if case.kind.__module__ == name]
    about = {"transform": "test_scheduled.py"}  # Others have a file of their name, if any.
    own = ROOT / "tests" / about.get(pathlib.Path(path).stem, f"test_{pathlib.Path(path).stem}.py")
    extra = [str(own)] * own.exists() + sorted(str(p) for p in (ROOT / "tests").glob("test_transforms_*.py"))
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if path.startswith("kopt/schedules/"):
            return pytest.main([*arguments, str(ROOT / "tests/test_schedule_fractions.py")]) == 1
        whole = [str(ROOT / "tests" / name) for name in ("test_parity.py", "test_bad_input.py")]
        if pytest.main([*arguments, *whole, *extra]) == 1:
            return True
        words = " or ".join(kinds) or "nothing"
        return pytest.main([*arguments, str(ROOT / "tests/test_contract.py"), "-k", words]) == 1


class TooLongError(Exception):
    """A mutant that hangs is noticed."""


def _ring(signum: int, frame: Any) -> None:
    raise TooLongError


def verdict(mutant: Mutant, cache: dict[str, list[Callable[[], None]]]) -> str:
    """Returns "killed", "killed late" or "survived"."""
    if mutant.path not in cache:
        cache[mutant.path] = judges(mutant.path)
        if any(map(is_noticed, cache[mutant.path])):
            raise RuntimeError(f"The tests of {mutant.path} fail before anything is changed.")
    signal.signal(signal.SIGALRM, _ring)
    signal.alarm(SECONDS)
    try:
        with alive(mutant):
            for judge in cache[mutant.path]:
                if is_noticed(judge):
                    # The likeliest to notice the next one, too.
                    cache[mutant.path].remove(judge)
                    cache[mutant.path].insert(0, judge)
                    return "killed"
            signal.alarm(5 * SECONDS)
            return "killed late" if full_trial(mutant.path) else "survived"
    except (TooLongError, ValueError):
        return "killed"
    finally:
        signal.alarm(0)


def work(task: tuple[int, int, list[str]]) -> list[tuple[str, str]]:
    """Judges every `workers`-th mutant of the files."""
    number, workers, paths = task
    sys.path.insert(0, str(ROOT / "tests"))
    import keras

    keras.utils.set_random_seed(0)
    cache: dict[str, list[Callable[[], None]]] = {}
    everything = [mutant for path in paths for mutant in mutants(ROOT / path)]
    results = []
    for mutant in everything[number::workers]:
        results.append((mutant.name, verdict(mutant, cache)))
        if results[-1][1] != "killed":
            sys.stderr.write(f"{results[-1][1]}: {mutant.name}\n")
    return results


def main() -> int:
    """Judges all mutants, prints the score, and returns 1 if a survivor has no reason or fewer than 95 % died."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="kopt/transforms")
    parser.add_argument("--only", help="one file of the folder")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ.setdefault("KERAS_BACKEND", "torch")
    files = sorted((ROOT / options.folder).glob(options.only or "*.py"))
    paths = [file.relative_to(ROOT).as_posix() for file in files if file.name != "__init__.py"]
    tasks = [(number, options.workers, paths) for number in range(options.workers)]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        results = dict(item for part in pool.map(work, tasks) for item in part)
    reasons: dict[str, str] = json.loads(REASONS.read_text()) if REASONS.exists() else {}
    survivors = [name for name, how in results.items() if how == "survived"]
    unexplained = [name for name in survivors if name not in reasons]
    score = 1 - len(survivors) / max(len(results), 1)
    for name in survivors:
        sys.stdout.write(f"survived: {name}\n    {reasons.get(name, 'NO REASON GIVEN')}\n")
    late = sum(how == "killed late" for how in results.values())
    sys.stdout.write(f"{len(results)} mutants, {len(survivors)} survived, {late} died late: {score:.1%} killed\n")
    return int(bool(unexplained) or score < 0.95)


if __name__ == "__main__":
    sys.exit(main())
