"""Does Keras still have what kopt leans on, and does kopt lean on nothing else?"""

import ast
import collections
import inspect
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import kopt
from kopt._backend.driven import DrivenOptimizer
from kopt.testing import problems

BACKEND = keras.backend.backend()
PACKAGE = pathlib.Path(kopt.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def name_of(path):
    return path.relative_to(PACKAGE.parent).as_posix()


class Recording(keras.optimizers.Optimizer):
    """A Keras optimizer without mathematics that notes which seams Keras calls."""

    def __init__(self, learning_rate=0.5, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.__dict__["calls"] = []

    def _backend_apply_gradients(self, grads, trainable_variables):
        self.calls.append((len(grads), len(trainable_variables)))

    def _get_current_learning_rate(self):
        return 0.25


def applied(optimizer, gradients=None):
    variables = problems.variables()
    optimizer.apply(problems.tensors(problems.gradients(0) if gradients is None else gradients), variables)
    return variables


# The private Keras names that kopt uses, each with a proof that Keras still means the same by it.
def backend_apply_gradients_gets_lists_without_nones():
    expected = inspect.signature(DrivenOptimizer._backend_apply_gradients)
    assert list(inspect.signature(keras.optimizers.Optimizer._backend_apply_gradients).parameters) == list(
        expected.parameters
    )
    optimizer = Recording(loss_scale_factor=2.0)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        applied(optimizer, [None, *problems.gradients(0)[1:]])
    assert optimizer.calls == [(3, 3)]


def get_current_learning_rate_is_what_learning_rate_shows():
    assert "_get_current_learning_rate" in keras.optimizers.Optimizer.learning_rate.fget.__code__.co_names
    assert Recording().learning_rate == 0.25


def get_variable_index_counts_in_the_order_of_build():
    optimizer = Recording()
    variables = applied(optimizer)
    assert [optimizer._get_variable_index(variable) for variable in variables] == [0, 1, 2, 3]
    native = [getattr(variable, "value", variable) for variable in variables]
    if BACKEND == "tensorflow":  # `tf.distribute` hands over bare `tf.Variable`s
        assert [optimizer._get_variable_index(variable) for variable in native] == [0, 1, 2, 3]


def var_key_tells_variables_apart():
    optimizer = Recording()
    assert len({optimizer._var_key(variable) for variable in applied(optimizer)}) == 4


def trainable_variables_are_those_of_build():
    optimizer = Recording()
    variables = applied(optimizer)
    assert all(a is b for a, b in zip(optimizer._trainable_variables, variables, strict=True))


def accumulated_gradients_are_zeros_in_the_shapes_of_variables():
    optimizer = Recording(gradient_accumulation_steps=2)
    variables = applied(optimizer)
    problems.assert_same(
        problems.values(optimizer._accumulated_gradients), [np.zeros(variable.shape) for variable in variables]
    )


def model_variables_moving_average_is_one_zero_per_variable():
    optimizer = Recording(use_ema=True)
    variables = applied(optimizer)
    problems.assert_same(
        problems.values(optimizer._model_variables_moving_average), [np.zeros(variable.shape) for variable in variables]
    )


def iterations_counts_micro_batches():
    optimizer = Recording(gradient_accumulation_steps=2)
    variables = applied(optimizer)
    for _ in range(2):
        optimizer.apply(problems.tensors(problems.gradients(0)), variables)
    assert int(ops.convert_to_numpy(optimizer._iterations)) == 3
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 1


def learning_rate_is_a_variable_a_schedule_or_a_callable():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    assert isinstance(Recording()._learning_rate, keras.Variable)
    assert Recording(schedule)._learning_rate is schedule


def overwrite_variable_with_gradient_reads_a_flag():
    variable = problems.variables()[0]
    assert not Recording()._overwrite_variable_with_gradient(variable)
    variable.overwrite_with_gradient = True
    assert Recording()._overwrite_variable_with_gradient(variable)
    optimizer = Recording(use_ema=True)
    optimizer.build([variable])
    assert optimizer._model_variables_moving_average == [None]


def distribution_strategy_is_the_one_of_construction():
    if BACKEND != "tensorflow":
        return
    import tensorflow as tf

    assert Recording()._distribution_strategy is tf.distribute.get_strategy()


def compile_config_holds_what_compile_was_given():
    model = problems.sequential()
    loss, metric = keras.losses.MeanSquaredError(), keras.metrics.MeanAbsoluteError()
    model.compile("sgd", loss, metrics=[metric], loss_weights=None)
    config = model._compile_config.config
    assert config["loss"] is loss
    assert config["metrics"][0] is metric
    assert config["optimizer"] is model.optimizer
    assert set(config) <= set(inspect.signature(keras.Model.compile).parameters)


def loss_tracker_is_the_metric_of_the_loss():
    model = problems.sequential()
    model.compile("sgd", "mse")
    problems.fit(model)
    assert model._loss_tracker.name == "loss"


def compute_loss_takes_what_a_train_step_has():
    names = inspect.signature(keras.Model._compute_loss).parameters
    assert {"x", "y", "y_pred", "sample_weight", "training"} <= set(names)
    model = problems.sequential()
    model.compile("sgd", "mse")
    x, y = (ops.convert_to_tensor(a) for a in problems.data())
    loss = model._compute_loss(x=x, y=y, y_pred=y + 2, sample_weight=None, training=True)
    np.testing.assert_allclose(float(ops.convert_to_numpy(loss)), 4.0, rtol=1e-5)


def var_to_optimizer_idx_leads_to_the_inner_optimizer():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        return
    sgd, adam = keras.optimizers.SGD(), keras.optimizers.Adam()
    optimizer = keras.optimizers.MultiOptimizer(lambda variable: sgd if "first" in variable.path else adam)
    variables = problems.variables()
    optimizer.build(variables)
    found = [optimizer.optimizers[optimizer._var_to_optimizer_idx[optimizer._var_key(v)]] for v in variables]
    assert all(a is b for a, b in zip(found, [sgd, sgd, adam, adam], strict=True))


def flatten_layers_enters_layers_and_finds_each_once():
    @keras.saving.register_keras_serializable(package="kopt_tests")
    class Pair(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.one, self.other = [keras.layers.Dense(1, name=name) for name in ("one", "other")]

    pair, inputs = Pair(), keras.Input((1,))
    model = keras.Sequential([inputs, keras.Sequential([pair]), pair.one])
    found = [layer.name for layer in model._flatten_layers(include_self=False)]
    assert found.count("one") == found.count("other") == found.count(pair.name) == 1


def call_has_training_arg_says_whether_call_takes_it():
    class Without(keras.Model):
        def call(self, x):
            return x

    assert problems.sequential()._call_has_training_arg is True
    assert Without()._call_has_training_arg is False


def compile_loss_has_a_metric_for_each_of_several_outputs_once_built():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(inputs) for name in ("one", "other")})
    model.compile("sgd", {"one": "mse", "other": "mse"})
    assert model._compile_loss.metrics == []
    x, y = problems.data()
    model.fit(x, {"one": y, "other": y}, verbose=0)
    assert model._compile_loss.built
    assert [metric.name for metric in model._compile_loss.metrics] == ["one_loss", "other_loss"]


def seed_generator_of_a_preprocessing_layer_is_that_of_its_backend():
    layer = keras.layers.MixUp(seed=3)
    assert layer.backend._backend == BACKEND
    assert layer._get_seed_generator(BACKEND) is layer.generator
    other = layer._get_seed_generator("tensorflow")
    assert (other is layer.generator) == (BACKEND == "tensorflow")


def compile_loss_is_made_again_from_what_the_user_gave():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", loss_weights=0.5, metrics=["mae"])
    loss = model._compile_loss
    again = type(loss)(loss._user_loss, loss._user_loss_weights, loss.reduction, loss.output_names)
    x, y = problems.data()
    found = [float(ops.convert_to_numpy(made(y, model(x)))) for made in (again, loss)]
    assert found[0] == found[1] > 0
    assert (loss._user_loss, loss._user_loss_weights) == ("mse", 0.5)
    assert model._compile_metrics is not None  # set to None in the attributes of a model, it is not computed
    vars(model)["_compile_metrics"] = None
    assert set(model.train_on_batch(x, y, return_dict=True)) == {"loss"}


def the_generator_of_unseeded_numbers_is_a_global_attribute():
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    keras.random.uniform((1,))
    assert isinstance(global_state.get_global_attribute(GLOBAL_SEED_GENERATOR), keras.random.SeedGenerator)


PRIVATE = {
    "GLOBAL_SEED_GENERATOR": the_generator_of_unseeded_numbers_is_a_global_attribute,
    "_accumulated_gradients": accumulated_gradients_are_zeros_in_the_shapes_of_variables,
    "_backend": seed_generator_of_a_preprocessing_layer_is_that_of_its_backend,
    "_backend_apply_gradients": backend_apply_gradients_gets_lists_without_nones,
    "_call_has_training_arg": call_has_training_arg_says_whether_call_takes_it,
    "_compile_config": compile_config_holds_what_compile_was_given,
    "_compile_loss": compile_loss_has_a_metric_for_each_of_several_outputs_once_built,
    "_compile_metrics": compile_loss_is_made_again_from_what_the_user_gave,
    "_compute_loss": compute_loss_takes_what_a_train_step_has,
    "_distribution_strategy": distribution_strategy_is_the_one_of_construction,
    "_flatten_layers": flatten_layers_enters_layers_and_finds_each_once,
    "_get_current_learning_rate": get_current_learning_rate_is_what_learning_rate_shows,
    "_get_variable_index": get_variable_index_counts_in_the_order_of_build,
    "_get_seed_generator": seed_generator_of_a_preprocessing_layer_is_that_of_its_backend,
    "_iterations": iterations_counts_micro_batches,
    "_learning_rate": learning_rate_is_a_variable_a_schedule_or_a_callable,
    "_loss_tracker": loss_tracker_is_the_metric_of_the_loss,
    "_model_variables_moving_average": model_variables_moving_average_is_one_zero_per_variable,
    "_overwrite_variable_with_gradient": overwrite_variable_with_gradient_reads_a_flag,
    "_user_loss": compile_loss_is_made_again_from_what_the_user_gave,
    "_user_loss_weights": compile_loss_is_made_again_from_what_the_user_gave,
    "_trainable_variables": trainable_variables_are_those_of_build,
    "_var_key": var_key_tells_variables_apart,
    "_var_to_optimizer_idx": var_to_optimizer_idx_leads_to_the_inner_optimizer,
}


@pytest.mark.parametrize("name", PRIVATE)
def test_keras_still_means_the_same_by(name):
    PRIVATE[name]()


def test_kopt_uses_no_other_private_name_of_an_optimizer():
    defined, used = set(), set()
    for path, tree in TREES.items():
        seams = path.is_relative_to(PACKAGE / "_backend") or path.is_relative_to(PACKAGE / "optimizers")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                defined.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                defined.add(node.target.id)
            elif isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
                (used if seams and isinstance(node.ctx, ast.Load) else defined).add(node.attr)
    assert used - defined - set(PRIVATE) == set()


def test_keras_puts_a_float_learning_rate_where_it_can_be_set():
    optimizer = kopt.optimizers.SGD(0.5)
    optimizer.learning_rate = 0.25
    assert float(ops.convert_to_numpy(optimizer.variables[1])) == 0.25


def test_overwritten_variable_has_no_state_and_takes_its_gradient():
    variables = problems.variables()
    variables[0].overwrite_with_gradient = True
    optimizer = kopt.optimizers.Adam(0.1, use_ema=True)
    moved = problems.walk(optimizer, 2, on=variables)
    problems.assert_same(moved[:1], problems.gradients(1)[:1])
    assert len(optimizer.slot_variables) == 2 * 3
    problems.assert_close(moved[1:], problems.walk(kopt.optimizers.Adam(0.1), 2)[1:])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="is about TensorFlow")
def test_tensorflow_still_merges_calls_and_hands_over_indexed_slices():
    import tensorflow as tf

    assert callable(tf.__internal__.distribute.interim.maybe_merge_call)
    table = keras.Variable(np.ones((3, 2), "float32"))
    with tf.GradientTape() as tape:
        loss = ops.sum(ops.take(table, [0, 0, 2], axis=0))
    gradient = tape.gradient(loss, table.value)
    assert isinstance(gradient, tf.IndexedSlices), "the tests of sparse gradients test nothing"
    dense = kopt.optimizers.SGD().densify(gradient)
    np.testing.assert_array_equal(dense, [[2, 2], [0, 0], [1, 1]])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_private_frameworks_stay_behind_the_seam(path):
    if path.is_relative_to(PACKAGE / "_backend"):
        return
    modules = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    roots = {module.split(".")[0] for module in modules}
    assert not roots & {"tensorflow", "jax", "torch", "flax", "numba"}
    assert not any(module.startswith("keras.src") for module in modules)
    assert "keras.src" not in path.read_text()


def test_importing_kopt_loads_nothing_that_keras_has_not_loaded():
    code = """
import sys
import keras
def loaded():
    return {name.split(".")[0] for name in sys.modules}
before = loaded()
import kopt
from kopt import optimizers, schedules, transforms
heavy = {"tensorflow", "jax", "torch", "tensorboard", "tensorboardX", "keras_tuner", "optuna", "matplotlib", "pytest"}
print(sorted((loaded() - before) & heavy))
print(sorted({"tensorboardX", "keras_tuner", "optuna"} & loaded()))
found = [keras.saving.get_registered_object(f"kopt>{name}") for name in ("AdamW", "DropPath", "L2", "PlainLoss", "SAM")]
print(sorted(part is None for part in found))
"""
    environment = {**os.environ, "KERAS_BACKEND": BACKEND}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-3:] == ["[]", "[]", str([False] * 5)], "Saved models are loaded by `import kopt`."


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short_and_say_what_they_are_for(path):
    assert len(path.read_text().splitlines()) < 400
    assert ast.get_docstring(TREES[path])
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            assert node.end_lineno - first + 1 < 50, f"{node.name} in line {first}"


WINDOW = 6


def normalised(tree, source):
    """Returns the lines of code: without docstrings, imports, signatures, comments, blank lines and indentation.

    Every named optimizer spells out its whole signature, as the house wants it; what it computes is not to be copied.
    """
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            skipped |= set(range(node.lineno, node.body[0].lineno))
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        prose = [node.body[0]] if documented else [node] if isinstance(node, ast.Import | ast.ImportFrom) else []
        for statement in prose:
            skipped |= set(range(statement.lineno, statement.end_lineno + 1))
    lines = [" ".join(line.split()) for number, line in enumerate(source.splitlines(), 1) if number not in skipped]
    return [line for line in lines if line and not line.startswith("#")]


def test_code_is_not_copied():
    lines = {path: normalised(tree, path.read_text()) for path, tree in TREES.items()}
    places = collections.defaultdict(list)
    for path, code in lines.items():
        for start in range(len(code) - WINDOW + 1):
            places[tuple(code[start : start + WINDOW])].append((path, start))
    copied = {
        (path, line)
        for found in places.values()
        if len(found) > 1
        for path, start in found
        for line in range(start, start + WINDOW)
    }
    share = len(copied) / sum(map(len, lines.values()))
    assert share < 0.01, sorted(f"{name_of(path)}: {lines[path][line]}" for path, line in copied)
