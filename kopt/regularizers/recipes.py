"""Named recipes of regularization, with the papers that their numbers come from."""

from kopt.regularizers.recipe import OURS, Recipe

_GPT = "Brown et al. 2020, appendix B, https://arxiv.org/abs/2005.14165"
_NANO = "nanoGPT's train.py, for GPT-2 with 124M weights"
_DEIT = "Touvron et al. 2021, table 9, https://arxiv.org/abs/2012.12877"
_CONVNEXT = "Liu et al. 2022, table 5, https://arxiv.org/abs/2201.03545"
_DROPOUT = "Srivastava et al. 2014, appendix A, https://jmlr.org/papers/v15/srivastava14a.html"
_TRICKS = "He et al. 2019, https://arxiv.org/abs/1812.01187"
_WIDE = "Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146"
_AUGMENT = (
    "The paper also has RandAugment (magnitude 9) and random erasing (0.25): `keras.layers.RandAugment` and "
    "`keras.layers.RandomErasing` in the data pipeline"
)


class Recipes(dict[str, Recipe]):
    """The recipes by name: `print(RECIPES["convnext"])` shows the parts of one, each with its source.

    * `nanogpt`: pre-training of a language model: decay, clipping, no dropout.
    * `deit`: a vision transformer on ImageNet alone.
    * `convnext`: a deep convolutional network on ImageNet.
    * `small-data-mlp`: a fully connected network on little data, with validation data to stop by.
    * `small-convnet`: a convolutional network with batch normalization on small images.

    `RECIPES["convnext"].replace(drop_path=None)` is another recipe, which `apply_recipe` takes as well.
    """

    def __missing__(self, name: object) -> Recipe:
        raise KeyError(f"There is no recipe {name!r}. There are: {', '.join(self)}.")


_ALL = (
    Recipe(
        name="nanogpt",
        purpose="pre-training of a language model, where all data are seen about once",
        optimizer="adamw",
        learning_rate=6e-4,
        batch_size=None,
        momentum=0.9,
        beta_2=0.95,
        weight_decay=0.1,
        warmup=2_000 / 600_000,
        final_rate=0.1,
        global_clipnorm=1.0,
        dropout=0.0,
        sources={
            "optimizer": _NANO,
            "learning_rate": f"{_NANO}: 0.5M tokens a batch",
            "momentum": _GPT,
            "beta_2": _GPT,
            "weight_decay": f"{_GPT}; here on embeddings neither, which nanoGPT decays",
            "warmup": f"{_NANO}: 2,000 of 600,000 steps",
            "final_rate": _GPT,
            "global_clipnorm": _GPT,
            "dropout": f"{_NANO}: 0 in pre-training, 0.1 or more in fine-tuning",
        },
    ),
    Recipe(
        name="deit",
        purpose="a vision transformer on a million images, without more data",
        optimizer="adamw",
        learning_rate=5e-4,
        batch_size=512,
        momentum=0.9,
        beta_2=0.999,
        weight_decay=0.05,
        warmup=5 / 300,
        final_rate=0.0,
        dropout=0.0,
        drop_path=0.1,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        sources={
            "optimizer": _DEIT,
            "learning_rate": f"{_DEIT}: 0.0005 * batch size / 512",
            "batch_size": _DEIT,
            "momentum": f"{OURS}: the usual one",
            "beta_2": f"{OURS}: the usual one",
            "weight_decay": _DEIT,
            "warmup": f"{_DEIT}: 5 of 300 epochs",
            "final_rate": f"{_DEIT}: cosine; to 0 is {OURS}",
            "dropout": _DEIT,
            "drop_path": _DEIT,
            "label_smoothing": _DEIT,
            "mixup": _DEIT,
            "cutmix": _DEIT,
        },
        also=f"{_AUGMENT}; and each image several times in a batch (repeated augmentation).",
    ),
    Recipe(
        name="convnext",
        purpose="a deep convolutional network on a million images",
        optimizer="adamw",
        learning_rate=4e-3,
        batch_size=4096,
        momentum=0.9,
        beta_2=0.999,
        weight_decay=0.05,
        warmup=20 / 300,
        final_rate=0.0,
        drop_path=0.1,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        ema=0.9999,
        sources={
            "optimizer": _CONVNEXT,
            "learning_rate": f"{_CONVNEXT}; in proportion to the batch is {OURS}",
            "batch_size": _CONVNEXT,
            "momentum": _CONVNEXT,
            "beta_2": _CONVNEXT,
            "weight_decay": _CONVNEXT,
            "warmup": f"{_CONVNEXT}: 20 of 300 epochs",
            "final_rate": f"{_CONVNEXT}: cosine; to 0 is {OURS}",
            "drop_path": f"{_CONVNEXT}: that of T; S has 0.4, B and L have 0.5",
            "label_smoothing": _CONVNEXT,
            "mixup": _CONVNEXT,
            "cutmix": _CONVNEXT,
            "ema": f"{_CONVNEXT}; that short runs average over a tenth of the steps is {OURS}",
        },
        also=f"{_AUGMENT}.",
    ),
    Recipe(
        name="small-data-mlp",
        purpose="a fully connected network on little data, stopped by validation data",
        optimizer="adamw",
        learning_rate=1e-3,
        batch_size=None,
        momentum=0.9,
        beta_2=0.999,
        weight_decay=0.01,
        warmup=0.0,
        final_rate=0.0,
        dropout=0.5,
        max_norm=3.0,
        patience=0.2,
        sources={
            "optimizer": "Kadra et al. 2021, https://arxiv.org/abs/2106.11189",
            "learning_rate": f"{OURS}: Keras' default",
            "momentum": f"{OURS}: the usual one",
            "beta_2": f"{OURS}: the usual one",
            "weight_decay": f"{OURS}: the usual one; Kadra et al. search it for each data set",
            "warmup": OURS,
            "final_rate": OURS,
            "dropout": f"{_DROPOUT}: keep 0.5 to 0.8 of the hidden units",
            "max_norm": f"{_DROPOUT}: 3 to 4",
            "patience": f"{OURS}; early stopping: Prechelt 1998, https://doi.org/10.1007/3-540-49430-8_3",
        },
    ),
    Recipe(
        name="small-convnet",
        purpose="a convolutional network with batch normalization on small images",
        optimizer="sgd",
        learning_rate=0.1,
        batch_size=256,
        momentum=0.9,
        weight_decay=5e-4,
        warmup=5 / 120,
        final_rate=0.0,
        label_smoothing=0.1,
        mixup=0.2,
        sources={
            "optimizer": f"{_TRICKS}, section 2.1",
            "learning_rate": f"{_TRICKS}, section 3.1: 0.1 * batch size / 256",
            "batch_size": f"{_TRICKS}, section 3.1",
            "momentum": _WIDE,
            "weight_decay": f"{_WIDE} (CIFAR); on matrices only: {_TRICKS}, section 3.1",
            "warmup": f"{_TRICKS}, section 3.1: 5 of 120 epochs",
            "final_rate": f"{_TRICKS}, section 5.1: cosine to 0",
            "label_smoothing": f"{_TRICKS}, section 5.2",
            "mixup": f"{_TRICKS}, section 5.4",
        },
    ),
)
RECIPES = Recipes({recipe.name: recipe for recipe in _ALL})
