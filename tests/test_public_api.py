"""The public names: documented, catalogued, covered by a row, and nothing else."""

import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from catalog import CASES

import kopt
import kopt.callbacks
import kopt.diagnosis
import kopt.layers
import kopt.losses
import kopt.monitoring
import kopt.probing
import kopt.regularizers
import kopt.sklearn
import kopt.testing
import kopt.training
import kopt.tuning

ROOT = Path(__file__).parents[1]
ROOMS = [
    kopt.optimizers,
    kopt.transforms,
    kopt.schedules,
    kopt.layers,
    kopt.losses,
    kopt.regularizers,
    kopt.callbacks,
    kopt.monitoring,
    kopt.diagnosis,
    kopt.probing,
    kopt.training,
    kopt.tuning,
    kopt.sklearn,
]
NAMES = [f"{room.__name__}.{name}" for room in ROOMS for name in room.__all__]
OPTIMIZERS = [
    value
    for value in vars(kopt.optimizers).values()
    if isinstance(value, type)
    and issubclass(value, kopt.optimizers.ComposedOptimizer)
    and value is not kopt.optimizers.ComposedOptimizer
]


def public(path):
    room, name = path.rsplit(".", 1)
    return getattr({r.__name__: r for r in ROOMS}[room], name)


def sections(thing):
    return set(re.findall(r"^\s*(Args|Returns|Raises|Example|References|Attributes):", inspect.getdoc(thing), re.M))


def test_the_readme_lists_exactly_the_public_names():
    listed = re.findall(r"^\| `(kopt\.\w+\.\w+)` \|", (ROOT / "README.md").read_text(), re.M)
    assert sorted(listed) == sorted(NAMES)
    assert len(set(listed)) == len(listed)


def test_the_readme_lists_every_recipe():
    listed = re.findall(r"^\| `(\d+_\w+\.py)` \|", (ROOT / "README.md").read_text(), re.M)
    assert listed == sorted(path.name for path in (ROOT / "recipes").glob("[0-9]*.py"))


@pytest.mark.parametrize("path", NAMES)
def test_every_public_name_is_documented(path):
    thing = public(path)
    text = inspect.getdoc(thing)
    assert text
    assert text.splitlines()[0].endswith((".", ":"))
    is_record = isinstance(thing, type) and issubclass(thing, dict | tuple)
    takes = (
        []
        if is_record or not callable(thing)
        else [p for p in inspect.signature(thing).parameters if p not in ("args", "kwargs")]
    )
    if takes:
        assert "Args" in sections(thing)
        for name in takes:
            assert re.search(rf"\b{name}(:| |,)", text), f"{path} does not say what `{name}` is"
    if isinstance(thing, type):
        methods = [m for name, m in vars(thing).items() if inspect.isfunction(m) and not name.startswith("_")]
        assert all(inspect.getdoc(method) or inherited(thing, method) for method in methods)


def inherited(kind, method):
    return any(inspect.getdoc(vars(base)[method.__name__]) for base in kind.__mro__ if method.__name__ in vars(base))


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_every_optimizer_has_a_row_a_reference_and_a_registered_name(kind):
    assert kind in {case.optimizer_class for case in CASES}
    assert keras.saving.get_registered_name(kind) == f"kopt>{kind.__name__}"
    if kind is not kopt.optimizers.Composed:
        assert sections(kind) >= {"Args", "Raises", "Example", "References"}
        assert re.search(r"Memory: \d+ bytes per parameter", inspect.getdoc(kind))
        assert next(p for p in inspect.signature(kind).parameters) == "learning_rate"


@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind is not kopt.optimizers.Composed])
def test_memory_is_what_the_docstring_says(kind):
    """Bytes of state for a hidden 512 x 512 kernel, per parameter and rounded, with default arguments."""

    def state(*shapes):
        optimizer = kind()
        optimizer.build(
            [keras.Variable(np.zeros(shape, "float32"), name=f"kernel_{n}") for n, shape in enumerate(shapes)]
        )
        return sum(4 * int(np.prod(slot.shape)) for slot in optimizer.slot_variables)

    # The last kernel is a head to matrix methods: the hidden one's state is the difference.
    per_parameter = (state((512, 512), (512, 2)) - state((512, 2))) / 512**2
    promised = int(re.search(r"Memory: (\d+) bytes per parameter", inspect.getdoc(kind)).group(1))
    assert promised == round(per_parameter)


def test_no_document_names_this_machine():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("kopt/**/*.py"), *ROOT.glob("recipes/*.py")]:
        assert not re.search(r"/(work|root|tmp|home)/", path.read_text()), path


def test_links_between_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
