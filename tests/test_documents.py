"""Do the calls that the documents print work as printed, and do the documents mention every optimizer?"""

import ast
import inspect
import re
from pathlib import Path

import keras
import pytest

from kopt import callbacks, optimizers, schedules, transforms

ROOT = Path(__file__).parents[1]
NAMES = {name: getattr(face, name) for face in (transforms, optimizers) for name in face.__all__}


def rows(page, until=None):
    """Returns the cells of each table row of a page, or of its part before a heading."""
    text = (ROOT / "docs" / page).read_text()
    lines = (text.split(until)[0] if until else text).splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]


def calls(cell):
    return [code for code in re.findall(r"`([^`]+)`", cell) if "(" in code and not code.endswith("=")]


def evaluated(code):
    import kopt

    steps, rate = 1000, 1e-3
    names = {**NAMES, "kopt": kopt, "lr": 1e-3, "wd": 0.01, "steps": steps, "rate": rate}
    names["schedule"] = schedules.Warmup(schedules.CosineDecay(rate, steps), steps // 20)
    return eval(code, names)


CHOICES = [code for row in rows("which-optimizer.md") for code in calls(row[1])]
OLD_AND_NEW = rows("coming-from.md", until="## What the arguments are called")
REPLACEMENTS = [code for row in OLD_AND_NEW for code in calls(row[1])]
CHAINS = [code for row in rows("transforms.md") for code in calls(row[1])]
CURES = [code for row in rows("regularization.md") for cell in row[1:] for code in calls(cell)]


@pytest.mark.parametrize("code", [*CHOICES, *REPLACEMENTS, *CHAINS])
def test_printed_calls_work(code):
    made = evaluated(code)
    known = optimizers.ComposedOptimizer | schedules.Schedule | callbacks.TensorBoard
    assert isinstance(made, known) or callable(getattr(made, "on_epoch_end", None))


@pytest.mark.parametrize("code", CURES)
def test_printed_cures_work(code):
    import kopt

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    made = eval(code, {"kopt": kopt, "keras": keras, "model": model})
    assert type(made).__module__.startswith(("kopt.", "keras.")) or len(made) == 12


def test_the_tables_are_not_empty():
    assert len(CURES) > 10
    assert len(CHOICES) > 20
    assert len(REPLACEMENTS) > 30
    assert len(CHAINS) > 8


@pytest.mark.parametrize("page", ["which-optimizer.md", "coming-from.md"])
def test_named_optimizers_exist(page):
    trees = [
        ast.parse(code) for row in (OLD_AND_NEW if page.startswith("coming") else rows(page)) for code in calls(row[1])
    ]
    called = {node.func.id for tree in trees for node in ast.walk(tree)
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert called <= set(NAMES)


def test_every_argument_of_the_name_table_is_one():
    table = (ROOT / "docs" / "coming-from.md").read_text().split("## What the arguments are called")[1]
    named = set(re.findall(r"`(\w+)", " ".join(line.split(" | ")[0] for line in table.splitlines() if "|" in line)))
    kinds = [kind for kind in NAMES.values() if isinstance(kind, type) and hasattr(kind, "keyword_names")]
    taken = {name for kind in kinds for name in [*inspect.signature(kind).parameters, *kind.keyword_names]}
    assert named - taken == set()
