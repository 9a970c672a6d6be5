"""The rows: every kind of training that a monitor must leave as it is, with the steps that it promises for each."""

import custom_training
import keras
from devices import data_parallel, distributed, mirrored, model_parallel
from monitored import BACKEND, Training, layers, mlp, penalty, with_a_nan, words

from kopt import optimizers, schedules, transforms

NO_UNROLLING = {"torch": "`steps_per_execution` must be 1 with the PyTorch backend"}
SCALE = frozenset({"loss_scale"})


def keras_optimizer(name, **options):
    return lambda: getattr(keras.optimizers, name)(learning_rate=0.02, **options)


def kopt_optimizer(name, **options):
    return lambda: getattr(optimizers, name)(learning_rate=0.02, **options)


def grouped():
    groups = [optimizers.Group("first/", 0.1, name="slow"), optimizers.Group("second/bias", frozen=True)]
    return optimizers.AdamW(0.02, weight_decay=0.1, groups=groups)


def clipped_first():
    return optimizers.Adam(0.02, before=[transforms.ClipByGlobalNorm(0.1)])


def scaled(make, scale=2.0**8):
    return lambda: keras.optimizers.LossScaleOptimizer(make(), initial_scale=scale)


def several():
    chosen = {"first/.*": keras.optimizers.SGD(0.02, name="one")}
    default = keras.optimizers.Adam(0.02, name="two")
    by_path = lambda variable: chosen["first/.*"] if "first" in variable.path else default  # noqa: E731
    return keras.optimizers.MultiOptimizer(by_path)


def estimating():
    return optimizers.Prodigy(d0=1e-3, weight_decay=0.1)


def cosine():
    return keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.05, 8))


def warm():
    return optimizers.Adam(schedules.Warmup(0.05, 4))


def frozen():
    model = mlp()
    model.get_layer("first").trainable = False
    return model


def embedding():
    head = keras.layers.Dense(1, kernel_regularizer=penalty(), name="head")
    return keras.Sequential(
        [keras.Input((3,), dtype="int32"), keras.layers.Embedding(10, 2), keras.layers.Flatten(), head]
    )


def noisy():
    first, second = layers()
    norm, drop = keras.layers.BatchNormalization(name="norm"), keras.layers.Dropout(0.5, seed=3)
    return keras.Sequential([keras.Input((4,)), first, norm, drop, second])


def functional():
    inputs = keras.Input((4,))
    first, second = layers()
    return keras.Model(inputs, second(keras.layers.Concatenate()([first(inputs), inputs])))


def freeze(model):
    model.get_layer("first").trainable = False


def freeze_and_compile(model):
    freeze(model)
    model.compile(keras.optimizers.Adam(0.02), loss="mse")


def early():
    return [keras.callbacks.EarlyStopping("loss", min_delta=1e3, patience=1)]


def until_nan():
    return [keras.callbacks.TerminateOnNaN()]


CORE = ("SGD", "RMSprop", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "Lamb", "Adafactor",
        "Muon", "ScheduleFreeAdamW")  # fmt: skip
SHORT = {"epochs": (1, 1), "promised": (1, 3, 6)}
ROWS = [
    Training("keras"),
    *(Training(f"keras-{name}", keras_optimizer(name)) for name in CORE),
    Training(
        "keras-several",
        several,
        missing=frozenset({"learning_rate"}),
        tags=frozenset({"learning_rate/one", "learning_rate/two"}),
    ),
    Training("custom-optimizer", custom_training.SignDescent, model=custom_training.Subclassed, fast=True),
    Training("kopt", kopt_optimizer("Adam")),
    Training("kopt-groups", grouped, tags=frozenset({"learning_rate/slow"}), fast=True),
    Training("kopt-clip-before", clipped_first),
    Training("kopt-estimates", estimating, tags=frozenset({"estimates/distance"})),
    Training("eager", compile={"run_eagerly": True}),
    Training("jit", compile={"jit_compile": True}),
    Training("no-jit", compile={"jit_compile": False}),
    Training(
        "jit-kopt",
        kopt_optimizer("Adam", global_clipnorm=0.1),
        compile={"jit_compile": True},
        backends=("tensorflow", "jax"),
    ),
    Training("metrics", compile={"metrics": ["mae"], "weighted_metrics": ["mse"]}, model=functional),
    Training("execution-3", compile={"steps_per_execution": 3}, promised=(3, 7), refused=NO_UNROLLING, fast=True),
    Training("execution-4", compile={"steps_per_execution": 4}, promised=(4, 8), refused=NO_UNROLLING),
    Training(
        "execution-3-accumulation",
        keras_optimizer("Adam", gradient_accumulation_steps=2),
        compile={"steps_per_execution": 3},
        promised=(2, 4),
        refused=NO_UNROLLING,
    ),
    Training("accumulation", keras_optimizer("SGD", gradient_accumulation_steps=2), epochs=(4,)),
    Training("accumulation-3", keras_optimizer("Adam", gradient_accumulation_steps=3), epochs=(3,), promised=(1, 3)),
    Training(
        "accumulation-clip",
        keras_optimizer("Adam", gradient_accumulation_steps=2, global_clipnorm=0.1),
        epochs=(4,),
        fast=True,
    ),
    Training(
        "kopt-accumulation",
        kopt_optimizer("Adam", gradient_accumulation_steps=2, clipnorm=0.1),
        epochs=(4,),
        fast=True,
    ),
    Training("clipnorm", keras_optimizer("SGD", clipnorm=0.1)),
    Training("clipvalue", keras_optimizer("Adam", clipvalue=0.01)),
    Training("global-clipnorm", keras_optimizer("Adam", global_clipnorm=0.1)),
    Training("float16", scaled(keras_optimizer("Adam")), policy="mixed_float16", tags=SCALE),
    Training("float16-kopt", scaled(kopt_optimizer("Adam")), policy="mixed_float16", tags=SCALE),
    Training(
        "float16-clip", scaled(keras_optimizer("SGD", clipnorm=0.1)), policy="mixed_float16", tags=SCALE, fast=True
    ),
    # Gradients overflow, so that every batch is another attempt at step 1.
    Training(
        "float16-overflow",
        scaled(keras_optimizer("Adam"), 2.0**60),
        policy="mixed_float16",
        tags=SCALE,
        promised=(1, 1, 1, 1),
    ),
    Training("bfloat16", policy="mixed_bfloat16"),
    Training("fixed-scale", keras_optimizer("Adam", loss_scale_factor=64.0), tags=SCALE),
    Training("average", keras_optimizer("Adam", use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)),
    Training("kopt-average", kopt_optimizer("Adam", use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)),
    Training("frozen", model=frozen, missing=frozenset({"loss/regularization"})),
    Training("embedding", model=embedding, data=words),
    Training("embedding-clip", keras_optimizer("Adam", clipnorm=0.1), model=embedding, data=words, fast=True),
    Training("embedding-kopt", kopt_optimizer("Adam", global_clipnorm=0.1), model=embedding, data=words),
    Training("schedule", cosine),
    Training("kopt-schedule", warm),
    Training("subclassed", model=custom_training.Subclassed),
    Training("custom-step", model=custom_training.with_own_train_step, fast=True),
    Training("own-loss", model=custom_training.with_own_loss),
    Training("noisy", model=noisy),
    Training("second-fit", fast=True, **SHORT),
    Training("third-fit", epochs=(1, 1, 1), promised=(1, 3, 6, 9, 12)),
    Training("new-callback", new_callback=True, **SHORT),
    Training("cached-function", unwatched=1, epochs=(1, 2), promised=(6, 9, 12)),
    Training("nan", data=with_a_nan),
    Training("until-nan", data=with_a_nan, beside=until_nan, promised=(1, 3)),
    Training("early", beside=early, epochs=(5,)),
    Training("freeze-and-compile", between=freeze_and_compile, freezes=2, epochs=(1, 1), promised=(1, 3, 1, 3)),
    Training("freeze", between=freeze, freezes=2, backends=("tensorflow", "torch"), **SHORT),
    Training("freeze-new-callback", between=freeze, freezes=2, new_callback=True, backends=("torch",), **SHORT),
    Training("mirrored", keras_optimizer("SGD"), around=mirrored, backends=("tensorflow",)),
    Training(
        "mirrored-kopt",
        kopt_optimizer("Adam", global_clipnorm=0.1),
        around=mirrored,
        backends=("tensorflow",),
        fast=True,
    ),
    Training("data-parallel", around=lambda: distributed(data_parallel), backends=("jax",), fast=True),
    Training("model-parallel", around=lambda: distributed(model_parallel), backends=("jax",)),
    Training(
        "data-parallel-cached",
        around=lambda: distributed(data_parallel),
        unwatched=1,
        epochs=(1, 2),
        promised=(6, 9, 12),
        backends=("jax",),
    ),
]
HERE = [row for row in ROWS if BACKEND in row.backends]

assert len({row.id for row in ROWS}) == len(ROWS)
