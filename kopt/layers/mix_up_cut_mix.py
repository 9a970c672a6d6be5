"""Mixtures of pairs of images, with their labels."""

from typing import Any

import keras

from kopt._backend import passes
from kopt._core import checks
from kopt._core.configured import register


@register
class MixUpCutMix(keras.layers.MixUp):
    """Mixes each image of a batch with another one, as a whole (MixUp) or by a pasted box (CutMix), and labels alike.

    ```
    MixUp     image = l image + (1 - l) other          l from Beta(mixup, mixup)
    CutMix    a box of the other image, a share 1 - l of the area until the border cuts it; l from Beta(cutmix, cutmix)
    labels = l labels + (1 - l) other's labels         with the l that the box has in pixels
    ```

    Everything is drawn for each image; recipes that draw for each batch differ in variance only. Keras' own two mix
    the images of a plain tensor, as in a Sequential, and leave the labels: silently wrong labels. Here that raises.

    Works on batches: in a `tf.data` pipeline on any backend, in front of a train loop of one's own, or in a model with
    the labels among its inputs. In inference images stay, and integer labels become one-hot.

    Args:
        mixup: Of its Beta distribution, > 0. Recipes have 0.8; small values mix little.
        cutmix: Of its Beta distribution, > 0. Recipes have 1.0.
        switch: Probability of CutMix, in [0, 1]; else MixUp.
        probability: That an image is mixed at all, in [0, 1].
        num_classes: Turns integer labels into one-hot ones; None if labels are one-hot.
        data_format: "channels_last", "channels_first", or None for Keras' setting.
        seed: Of the random numbers, an integer or None.
        **options: `name`, `dtype`, `trainable` of a Keras layer. Images and labels come out in that dtype, float32
            unless it is given.

    Raises:
        ValueError: An argument is out of its range; when called, if the data are not images with labels.

    Example:

    ```python
    mix = kopt.layers.MixUpCutMix(num_classes=10)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(10_000).batch(128).map(lambda *batch: mix(batch))
    model.compile("adam", kopt.losses.CategoricalCrossentropy(label_smoothing=0.1, from_logits=True))
    model.fit(data, epochs=10)
    ```

    References:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412; Yun et al. 2019, https://arxiv.org/abs/1905.04899.
    """

    def __init__(
        self,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        switch: float = 0.5,
        probability: float = 1.0,
        num_classes: int | None = None,
        data_format: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        checks.positive("mixup", mixup)
        checks.optional(checks.count, "seed", seed, least=0)
        super().__init__(alpha=mixup, data_format=data_format, seed=seed, **{"dtype": "float32"} | options)
        self.cutmix = checks.positive("cutmix", cutmix)
        self.switch = checks.fraction("switch", switch, one=True)
        self.probability = checks.fraction("probability", probability, one=True)
        self.num_classes = checks.optional(checks.count, "num_classes", num_classes, least=2)

    def call(self, data: Any, training: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Returns data of the same structure: mixed images, and mixed one-hot labels."""
        images, labels = _parts(data)
        if len(images.shape) != 4:
            raise checks.fail("images", "a batch of images: a tensor of four axes", tuple(images.shape))
        images = self.backend.cast(images, self.compute_dtype)
        labels = self._one_hot(labels)
        if training:
            images, labels = self._mixed(images, labels)
        return {"images": images, "labels": labels} if isinstance(data, dict) else type(data)((images, labels))

    def _one_hot(self, labels: Any) -> Any:
        if self._are_integers(labels.shape):
            if len(labels.shape) == 2:
                labels = self.backend.numpy.squeeze(labels, axis=-1)
            return self.backend.nn.one_hot(
                self.backend.cast(labels, "int32"), self.num_classes, dtype=self.compute_dtype
            )
        return self.backend.cast(labels, self.compute_dtype)

    def _are_integers(self, shape: Any) -> bool:
        """Returns whether labels are to be made one-hot; a pipeline has made floats of integers, only shapes tell."""
        is_column = len(shape) == 1 or (len(shape) == 2 and shape[-1] == 1)
        if is_column and self.num_classes is None:
            advice = "Give `num_classes`, to have integer labels made one-hot."
            raise checks.fail("labels", "one-hot: a tensor of two axes", tuple(shape), advice)
        if not is_column and (len(shape) != 2 or self.num_classes not in (None, shape[-1])):
            raise checks.fail("labels", f"integers, or one-hot with {self.num_classes or 'all'} classes", tuple(shape))
        return is_column

    def _mixed(self, images: Any, labels: Any) -> tuple[Any, Any]:
        backend, numpy = self.backend, self.backend.numpy
        seed = passes.seed_of(self)
        count = backend.shape(images)[0]

        def uniform() -> Any:
            return backend.random.uniform((count,), dtype="float32", seed=seed)

        order = backend.random.shuffle(numpy.arange(count, dtype="int32"), seed=seed)
        other_images, other_labels = numpy.take(images, order, axis=0), numpy.take(labels, order, axis=0)
        kept = backend.random.beta((count,), self.alpha, self.alpha, dtype="float32", seed=seed)
        box, box_kept = self._boxes(images, uniform, seed)
        is_cut, is_mixed = uniform() < self.switch, uniform() < self.probability
        share = numpy.where(is_mixed, numpy.where(is_cut, box_kept, kept), numpy.ones_like(kept))
        column, image = (-1, 1), (-1, 1, 1, 1)
        # In an image that is cut the share is 0 inside the box and 1 outside of it.
        cut_share = numpy.where(box, numpy.zeros_like(images[:1]), numpy.ones_like(images[:1]))
        cuts = numpy.reshape(numpy.logical_and(is_cut, is_mixed), image)
        pixel_share = numpy.where(cuts, cut_share, backend.cast(numpy.reshape(share, image), self.compute_dtype))
        label_share = backend.cast(numpy.reshape(share, column), self.compute_dtype)
        return (
            pixel_share * images + (1.0 - pixel_share) * other_images,
            label_share * labels + (1.0 - label_share) * other_labels,
        )

    def _boxes(self, images: Any, uniform: Any, seed: Any) -> tuple[Any, Any]:
        """Returns for each image which pixels are in its box, and the share of the area that is not."""
        backend, numpy = self.backend, self.backend.numpy
        shape = backend.shape(images)
        is_first = self.data_format == "channels_first"
        sides = [shape[axis] for axis in ((2, 3) if is_first else (1, 2))]
        drawn = backend.random.beta((shape[0],), self.cutmix, self.cutmix, dtype="float32", seed=seed)
        half = 0.5 * numpy.sqrt(1.0 - drawn)
        inside, area = [], 1.0
        for axis, side in enumerate(sides):
            length, center = backend.cast(side, "float32"), uniform()
            low = numpy.floor(numpy.clip(center - half, 0.0, 1.0) * length)
            high = numpy.floor(numpy.clip(center + half, 0.0, 1.0) * length)
            pixels = backend.cast(numpy.arange(side), "float32")[None, :]
            within = numpy.logical_and(pixels >= low[:, None], pixels < high[:, None])
            inside.append(within[:, :, None] if axis == 0 else within[:, None, :])
            area = area * (high - low) / length
        box = numpy.logical_and(*inside)
        return numpy.expand_dims(box, 1 if is_first else -1), 1.0 - area

    def compute_output_spec(self, data: Any, training: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Returns shapes and dtypes of what comes out, in the structure of the data."""
        images, labels = _parts(data)
        shape = (labels.shape[0], self.num_classes) if self._are_integers(labels.shape) else labels.shape
        made = [keras.KerasTensor(s, dtype=self.compute_dtype) for s in (images.shape, shape)]
        return dict(zip(("images", "labels"), made, strict=True)) if isinstance(data, dict) else type(data)(made)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments in a form that JSON can hold."""
        config = super().get_config() | {
            "mixup": self.alpha,
            "cutmix": self.cutmix,
            "switch": self.switch,
            "probability": self.probability,
            "num_classes": self.num_classes,
            "data_format": self.data_format,
        }
        return {name: value for name, value in config.items() if name not in ("alpha", "factor", "bounding_box_format")}


def _parts(data: Any) -> tuple[Any, Any]:
    """Returns images and labels; raises if that is not what the data are."""
    if isinstance(data, dict) and set(data) == {"images", "labels"}:
        return data["images"], data["labels"]
    if isinstance(data, list | tuple) and len(data) == 2:
        return data[0], data[1]
    rule = 'a dict with "images" and "labels" and nothing else, or a pair (images, labels)'
    received = sorted(data) if isinstance(data, dict) else type(data).__name__
    advice = "Images without labels would be mixed and keep the labels of one of the two: mix in the data pipeline."
    raise checks.fail("data", rule, received, advice)
