"""Groups that follow from a model, and the table that says who gets what."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest
from keras import layers

from kopt import optimizers, transforms
from kopt.testing import problems
from kopt.testing.training_checks import Numbers, compiled

GOLDEN = pathlib.Path(__file__).parent / "golden" / "describe.json"


def transformer():
    """Returns a small classifier of tokens: embedding, attention, norm, two dense layers."""
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(10, 8, name="tokens")(tokens)
    x = layers.LayerNormalization(name="norm")(x + layers.MultiHeadAttention(2, 4, name="attention")(x, x))
    x = layers.Dense(16, activation="relu", name="block1_dense")(x)
    x = layers.Dense(8, name="block2_dense")(x)
    return keras.Model(tokens, layers.Dense(3, name="head")(layers.GlobalAveragePooling1D()(x)), name="classifier")


def rows(model, **kwargs):
    return {row.variable: row for row in optimizers.AdamW(0.01, weight_decay=0.1, **kwargs).describe(model).rows}


def test_no_decay_for_biases_norms_and_embeddings():
    model = transformer()
    found = rows(model, groups=optimizers.no_decay_groups(model))
    decayed = {path for path, row in found.items() if row.weight_decay}
    assert decayed == {path for path in found if path.endswith("kernel")}
    assert all(row.weight_decay in (0.0, 0.1) and row.learning_rate == pytest.approx(0.01) for row in found.values())
    assert any(path.endswith("query/bias") and len(row.shape) == 2 for path, row in found.items())


def test_a_model_without_biases_has_no_such_group():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False)])
    assert optimizers.no_decay_groups(model) == []


def test_rates_fall_from_layer_to_layer():
    model = transformer()
    found = rows(model, groups=optimizers.layerwise_decay(model, 0.5))
    order = ["head", "block2_dense", "block1_dense", "norm", "attention", "tokens"]
    for depth, layer in enumerate(order):
        of_layer = [row for path, row in found.items() if f"{layer}/" in path]
        assert of_layer
        for row in of_layer:
            assert row.learning_rate == pytest.approx(0.01 * 0.5**depth)
            assert bool(row.weight_decay) == row.variable.endswith("kernel")


def test_blocks_are_found_in_paths():
    model = transformer()
    found = rows(model, groups=optimizers.layerwise_decay(model, 0.1, blocks=r"block(\d)_", no_decay=False))
    for layer, depth in {"head": 0, "block2_dense": 1, "block1_dense": 2, "norm": 3, "tokens": 3}.items():
        assert found[next(path for path in found if f"{layer}/" in path)].learning_rate == pytest.approx(
            0.01 * 0.1**depth
        )
    assert all(row.weight_decay == 0.1 for row in found.values())
    for row in rows(model, groups=optimizers.layerwise_decay(model, 0.1, blocks=r"block(\d)_dense/kernel")).values():
        assert bool(row.weight_decay) == row.variable.endswith("kernel"), "What follows the last block has no decay."


@pytest.mark.parametrize("kind", problems.MODELS)
def test_layerwise_groups_survive_saving(kind, tmp_path):
    model = problems.MODELS[kind]()
    model(problems.data()[0][:1])
    groups = optimizers.layerwise_decay(model, 0.25)
    compiled(model, optimizers.AdamW(0.05, weight_decay=0.3, groups=groups))
    problems.fit(model)
    model.save(tmp_path / "model.keras")
    problems.fit(model)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    described = [(row.learning_rate, row.weight_decay) for row in loaded.optimizer.describe(loaded).rows]
    assert described == [(row.learning_rate, row.weight_decay) for row in model.optimizer.describe(model).rows]
    assert len({rate for rate, _ in described}) == 2
    problems.fit(loaded)
    Numbers.of(loaded).assert_same(Numbers.of(model))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: optimizers.layerwise_decay(m, 1.5), r"`factor` must be a number in \[0, 1\]. Received: factor=1.5"),
        (lambda m: optimizers.layerwise_decay(m, 0.0), r"`factor` must be a number in \(0, 1\]. Received: factor=0.0"),
        (lambda m: optimizers.layerwise_decay(m, 0.5, no_decay=1), "`no_decay` must be True or False. Received"),
        (lambda m: optimizers.layerwise_decay(m, 0.5, blocks="block"), "`blocks` must be .* exactly one group"),
        (lambda m: optimizers.layerwise_decay(m, 0.5, blocks=r"stage(\d)"), r"(?s)`blocks` must be found.*tokens/emb"),
        (lambda m: optimizers.layerwise_decay(m, 0.5, blocks="("), "`blocks` must be a valid regular expression"),
        (lambda m: optimizers.no_decay_groups(problems.Subclassed()), "`model` must be a built model"),
        (lambda m: optimizers.AdamW().describe(problems.Subclassed()), "`model` must be a built model"),
        (lambda m: optimizers.AdamW(groups=[optimizers.Group("no_such")]).describe(m), "(?s)`groups` must.*head/bias"),
    ],
)  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(transformer())


def described():
    """Returns the tables whose format is kept."""
    model = transformer()
    plain = optimizers.SGD(0.1, momentum=0.9, groups=[optimizers.Group("tokens", frozen=True)], clipnorm=1.0)
    several = optimizers.AdamW(
        0.01,
        weight_decay=0.1,
        after=[transforms.ClipByValue(1.0)],
        groups=[
            *optimizers.no_decay_groups(model),
            optimizers.Group("head", 0.5, transforms=[transforms.Momentum(0.9)]),
        ],
    )
    return {"frozen": str(plain.describe(model)).splitlines(), "groups": str(several.describe(model)).splitlines()}


def test_the_table_stays():
    found = described()
    if os.environ.get("KOPT_REWRITE_GOLDEN") == "1":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_describing_changes_nothing_and_counts_what_is_built():
    model = problems.sequential()
    optimizer = optimizers.AdamW(0.05, amsgrad=True, groups=[optimizers.Group("second/bias", frozen=True)])
    table = optimizer.describe(model)
    assert not optimizer.built
    assert optimizer.get_config()["assignment"]["rows"] is None
    optimizer.build(model.trainable_variables)
    assert table.state_bytes == sum(4 * int(np.prod(slot.shape)) for slot in optimizer.slot_variables)
    assert optimizer.describe(model.trainable_variables) == table
