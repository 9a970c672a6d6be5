"""What can be changed in a function, one thing at a time, and the running process with such a change in it."""

import ast
import contextlib
import copy
import importlib
import pathlib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]

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
    """Returns whether nothing below the node is mathematics: messages, raises, annotations, `strict=True` of a zip."""
    if isinstance(node, ast.Raise | ast.arguments | ast.JoinedStr):
        return True
    if isinstance(node, ast.keyword) and node.arg == "strict":
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
        members = [(f"{node.name}.", member) for member in node.body] if isinstance(node, ast.ClassDef) else []
        for owner, member in [("", node), *members]:
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
