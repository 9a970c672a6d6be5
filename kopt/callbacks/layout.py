"""The layout of TensorBoard's "Custom Scalars" page: which curves stand beside each other in one chart."""

from typing import Any

GUIDE = "guide/update_to_weight"
"""Tag of a constant line where updates are usually, in proportion to the weights."""
GUIDE_VALUE = 1e-3
# TensorBoard matches a pattern from the beginning of a tag, but not to its end.
_LOSS_OF_EPOCHS = ("loss of each epoch", ["epoch_loss$"])
_LOSS_OF_BATCHES = ("loss of each batch", ["loss/.+$"])
_METRICS = ("metrics of each epoch", ["epoch_(?!loss$|learning_rate|steps_per_second$).+$"])
_OF_STEPS = {
    "Gradients": [
        ("norm before and after clipping", ["gradients/global_norm$", "gradients/global_norm_clipped$"]),
        ("norm by variable", ["gradients_norm/.+$"]),
        ("share of zeros, of NaN and Inf", ["gradients/zero_fraction$", "gradients/nonfinite_fraction$"]),
    ],
    "Updates": [("update / weight, usually about 1e-3", ["update_to_weight/.+$", f"{GUIDE}$"])],
    "Learning rate": [("learning rate", ["learning_rate$", "learning_rate/.+$"])],
}
# Closed, because most runs do not measure them.
_ON_DEMAND = {
    "Estimates of the optimizer": [("estimates", ["estimates/.+$"])],
    "Noise": [("noise scale", ["noise/.+$"])],
    "Curvature": [("curvature", ["curvature/.+$"])],
}


def layout_value(*, steps: bool) -> Any:
    """Returns the layout as a summary value.

    Args:
        steps: Whether single steps are logged; else there are charts of epochs only.
    """
    from tensorboardX.proto.layout_pb2 import Layout
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    charts = [_LOSS_OF_EPOCHS, *([_LOSS_OF_BATCHES] if steps else []), _METRICS]
    layout = Layout(category=[_category("Loss and metrics", charts)])
    if steps:
        layout.category.extend(_category(title, charts) for title, charts in _OF_STEPS.items())
        layout.category.extend(_category(title, charts, closed=True) for title, charts in _ON_DEMAND.items())
    return Summary.Value(
        tag="custom_scalars__config__",
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="custom_scalars")),
        tensor=TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()]),
    )


def _category(title: str, charts: list[tuple[str, list[str]]], *, closed: bool = False) -> Any:
    from tensorboardX.proto.layout_pb2 import Category, Chart, MultilineChartContent

    made = [Chart(title=name, multiline=MultilineChartContent(tag=tags)) for name, tags in charts]
    return Category(title=title, chart=made, closed=closed)
