"""Are steps seen that `fit` does not take with one optimizer: two optimizers, `train_on_batch`, loops by hand?"""

import custom_training
import event_files
import keras
import numpy as np
import pytest
import watched
from keras import ops

from kopt import callbacks, monitoring

BACKEND = watched.BACKEND


def adversarial():
    """Returns a GAN whose two optimizers take a step each in its own `train_step`."""
    generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, name="made")], name="generator")
    discriminator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="judged")], name="discriminator")
    model = custom_training.Adversarial(generator, discriminator)
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.01))
    return model


@pytest.mark.skipif(BACKEND == "jax", reason="Keras' JAX trainer carries the state of one optimizer only.")
def test_both_optimizers_of_a_gan_are_seen(tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    plain, seen = adversarial(), adversarial()
    seen.set_weights(plain.get_weights())
    board = watched.Numbers(tmp_path, every=2, monitor="economy")
    for model, beside in ((plain, []), (seen, [board])):
        keras.utils.set_random_seed(3)
        model.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=beside)
    for one, other in zip(plain.get_weights(), seen.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for name in ("d_optimizer", "g_optimizer"):
        assert board.seen[f"gradients/global_norm/{name}"].keys() == {1, 2, 4, 6, 8}
    assert board.seen["learning_rate/d_optimizer"][2] == pytest.approx(0.1)
    assert board.seen["learning_rate/g_optimizer"][2] == pytest.approx(0.01)
    paths = {tag.partition("/")[2] for tag in board.seen if tag.startswith("updates_norm/")}
    assert {path.split("/")[-2] for path in paths} == {"made", "judged"}


def test_train_on_batch_with_keras_own_list_of_callbacks(tmp_path):
    x, y = watched.regression()
    model, plain = watched.linear(), watched.linear()
    plain.set_weights(model.get_weights())
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(0.02), "mse")
    board = watched.Numbers(tmp_path, every=2)
    beside = keras.callbacks.CallbackList([board], model=model, add_history=False)
    beside.on_train_begin()
    beside.on_epoch_begin(0)
    for batch in range(4):
        part = slice(8 * batch, 8 * batch + 8)
        beside.on_train_batch_begin(batch)
        model.train_on_batch(x[part], y[part])
        beside.on_train_batch_end(batch)
        plain.train_on_batch(x[part], y[part])
    beside.on_epoch_end(0, {})
    beside.on_train_end()
    assert board.seen["gradients/global_norm"].keys() == {1, 2, 4}
    np.testing.assert_array_equal(model.get_weights()[0], plain.get_weights()[0])


def step_by_hand(model, optimizer):
    """Returns a function that takes one compiled step and returns its numbers, as users write it on each backend."""
    loss_of = keras.losses.MeanSquaredError()
    variables = model.trainable_variables
    options = {"model": model, "learning_rate": 0.02}
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function
        def step(x, y):
            with tf.GradientTape() as tape:
                loss = loss_of(y, model(x, training=True))
            gradients = tape.gradient(loss, variables)
            before = [tf.identity(v.value) for v in variables]
            optimizer.apply(gradients, variables)
            after = [tf.identity(v.value) for v in variables]
            count = optimizer.iterations
            return callbacks.monitor_step(variables, gradients, before, after, step=count, loss=loss, **options)

        return step
    if BACKEND == "torch":
        import torch

        def step(x, y):
            loss = loss_of(torch.as_tensor(y), model(x, training=True))
            model.zero_grad()
            loss.backward()
            gradients = [v.value.grad for v in variables]
            with torch.no_grad():
                before = [ops.copy(v.value) for v in variables]
                optimizer.apply(gradients, variables)
                after = [v.value for v in variables]
                count = optimizer.iterations
                return callbacks.monitor_step(variables, gradients, before, after, step=count, loss=loss, **options)

        return step
    import jax

    def loss_fn(trainable, x, y):
        y_pred, _ = model.stateless_call(trainable, [], x)
        return loss_of(y, y_pred)

    @jax.jit
    def pure(trainable, state, x, y):
        loss, gradients = jax.value_and_grad(loss_fn)(trainable, x, y)
        after, state = optimizer.stateless_apply(state, gradients, trainable)
        numbers = callbacks.monitor_step(variables, gradients, trainable, after, step=state[0], loss=loss, **options)
        return numbers, after, state

    held = [[v.value for v in variables], [v.value for v in optimizer.variables]]

    def step(x, y):
        numbers, *held[:] = pure(*held, x, y)
        return numbers

    return step


def test_a_loop_by_hand_gives_the_numbers_of_fit(tmp_path):
    x, y = watched.regression()
    model, plain = watched.linear(), watched.linear()
    plain.set_weights(model.get_weights())
    seen, _ = watched.watched(tmp_path / "fit", None, model=plain, data=(x, y))
    optimizer = keras.optimizers.SGD(0.02)
    optimizer.build(model.trainable_variables)
    step, board = step_by_hand(model, optimizer), callbacks.TensorBoard(tmp_path / "hand")
    for i in range(4):
        board.write(step(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8]), i + 1)
    board.close()
    written = event_files.scalars(tmp_path / "hand" / "train")
    del written["guide/update_to_weight"]
    assert written.keys() == seen.keys() - {"hyperparameters/momentum"}
    for tag, points in written.items():
        expected = [seen[tag][step] for step in (1, 2, 3, 4)]
        np.testing.assert_allclose([value for _, value in points], expected, rtol=1e-4, atol=1e-6, err_msg=tag)


def test_bad_arguments_of_a_step_by_hand_are_named():
    variable = keras.Variable(np.ones((2,), "float32"), name="w")
    one = [ops.ones((2,))]
    with pytest.raises(ValueError, match=r"must be lists of one length. Received: lengths 1, 1, 0, 1"):
        callbacks.monitor_step([variable], one, [], one, step=1)
    with pytest.raises(ValueError, match=r"`gradients` must be a list with at least one that is not None"):
        callbacks.monitor_step([variable], [None], one, one, step=1)
    with pytest.raises(ValueError, match=r"`monitor` must be one of 'economy', 'business', 'full'"):
        callbacks.monitor_step([variable], one, one, one, step=1, quantities="cheap")


def test_evaluate_takes_the_callback_too(tmp_path):
    x, y = watched.regression(16)
    model = watched.linear()
    model.compile(keras.optimizers.SGD(0.02), "mse")
    board = callbacks.TensorBoard(tmp_path, every=1)
    model.fit(x, y, batch_size=8, verbose=0, validation_data=(x, y), callbacks=[board])
    loss = model.evaluate(x, y, verbose=0, callbacks=[board])
    assert event_files.scalars(tmp_path / "validation")["evaluation_loss_vs_iterations"][-1] == (2, pytest.approx(loss))


def test_rules_say_when():
    def looks(rule, last=200):
        return [step for step in range(last + 1) if step and rule(step)]

    assert looks(monitoring.every(50)) == [1, 50, 100, 150, 200]
    assert looks(monitoring.first(3)) == [1, 2, 3]
    assert looks(monitoring.at([7, 3])) == [3, 7]
    assert looks(monitoring.logarithmic(4)) == [1, 2, 3, 6, 10, 18, 32, 56, 100, 178]
    both = monitoring.first(2) | monitoring.every(100)
    assert looks(both) == [1, 2, 100, 200]
    assert repr(both) == "first(2) | every(100)"
    assert looks(monitoring.logarithmic(), 20) == [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: monitoring.every(0), r"`steps` must be an integer >= 1. Received: steps=0"),
        (lambda path: monitoring.at("12"), r"`steps` must be a list of integers >= 1. Received: steps='12'"),
        (lambda path: monitoring.at([0]), r"`steps` must be an integer >= 1. Received: steps=0"),
        (lambda path: callbacks.TensorBoard(path, every=0), r"`every` must be an interval .*Received: every=0. Rules"),
        (lambda path: callbacks.TensorBoard(path, every="all"), r"`every` must be .*Received: every='all'"),
        (lambda path: callbacks.TensorBoard(path, monitor="all"), r"`monitor` must be one of 'economy', .*='all'"),
        (lambda path: callbacks.TensorBoard(path, monitor=[3]), r"`monitor` must be a list of .*Quantity instances"),
        (lambda path: callbacks.TensorBoard(path, include="("), r"`include` must be a valid regular expression"),
        (lambda path: monitoring.NoiseScale(parts=1), r"`parts` must be an integer >= 2. Received: parts=1"),
        (lambda path: monitoring.NoiseScale(smoothing=1.0), r"`smoothing` must be a number in \[0, 1\)"),
        (lambda path: monitoring.HessianEigenvalue(1), r"`iterations` must be an integer >= 2"),
        (lambda path: monitoring.HessianEigenvalue(tolerance=0), r"`tolerance` must be a finite number > 0"),
        (lambda path: monitoring.HessianTrace(0), r"`samples` must be an integer >= 1"),
        (lambda path: monitoring.Activations(0.5), r"`margin` must be a number in \(0, 0.5\)"),
        (lambda path: monitoring.Rates(when=0), r"`when` must be an interval"),
    ],
)
def test_bad_arguments_are_named(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make(tmp_path)


def test_include_and_exclude_choose_what_is_shown_one_by_one(tmp_path):
    layers = [keras.layers.Dense(3, name="first"), keras.layers.Dense(1, name="last")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    chosen = {"include": "kernel", "exclude": "last"}
    seen, _ = watched.watched(tmp_path, [monitoring.GlobalNorms(), monitoring.Norms()], model=model, **chosen)
    everything, _ = watched.watched(tmp_path / "all", [monitoring.GlobalNorms(), monitoring.Norms()], model=model)
    assert {tag for tag in seen if tag.count("/") == 2} == {
        f"{family}/first/kernel" for family in ("gradients_norm", "weights_norm", "updates_norm", "update_to_weight")
    }
    squares = [values[1] ** 2 for tag, values in everything.items() if tag.startswith("gradients_norm/")]
    assert len(squares) == 4
    assert everything["gradients/global_norm"][1] == pytest.approx(sum(squares) ** 0.5, rel=1e-5)
