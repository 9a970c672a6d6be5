"""Does a real TensorBoard show a run? Its pages are opened in headless Chromium, and looked at."""

import importlib.util
import os
import re
import shutil
from pathlib import Path

import monitored
import pytest
from classifiers import CLASSES, X, Y, trained

SCREENSHOTS = Path(__file__).parents[1] / "docs" / "take_screenshots.py"
CHROMIUM = os.environ.get("KOPT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 20
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed."),
    pytest.mark.skipif(CHROMIUM is None, reason="There is no chromium on the path; KOPT_CHROMIUM may name one."),
    # The files are the same on each backend, as the other tests know.
    *([] if monitored.BACKEND == "tensorflow" else [pytest.mark.slow]),
]


def screenshots():
    spec = importlib.util.spec_from_file_location("take_screenshots", SCREENSHOTS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A browser's page, the address of a server that shows one run, and the metrics of the run."""
    from playwright.sync_api import sync_playwright

    logs = tmp_path_factory.mktemp("logs")
    _, history, _ = trained(
        logs, name="animals", gradients=2, gradient_histograms=True, samples=(X, Y), class_names=CLASSES
    )
    pages = screenshots()
    with pages.tensorboard(str(logs)) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=pages.FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.set_default_timeout(SECONDS * 1000)
        yield page, address, history
        browser.close()


@pytest.fixture
def opened(site):
    """Opens a place of the site, from an empty page: TensorBoard keeps what another place had chosen."""
    page, address, _ = site

    def go(place):
        page.goto("about:blank")
        page.goto(f"{address}/{place}")
        return page

    return go


def test_time_series_draws_the_norms(opened):
    page = opened("?smoothing=0&tagFilter=gradients%2Fglobal_norm#timeseries")
    for tag in ("global_norm", "global_norm_clipped"):
        page.get_by_text(re.compile(rf"^(gradients/)?{tag}$")).first.wait_for()
    page.locator("scalar-card line-chart").nth(1).wait_for()
    page.locator("runs-data-table").get_by_text(re.compile(r"animals-\d{8}-\d{6}/train")).first.wait_for()


def test_histograms_of_gradients(opened):
    page = opened("#histograms")
    page.get_by_text("gradients/head/kernel").first.wait_for()
    assert page.locator("histogram-card, vz-histogram-timeseries").count() >= 2


def test_custom_scalars_have_their_charts_with_curves(opened):
    page = opened("#custom_scalars")
    for title in ("Loss and metrics", "Gradients", "Updates", "Learning rate", "Noise", "Curvature"):
        page.get_by_text(title, exact=True).first.wait_for()
    chart = page.locator("tf-custom-scalar-multi-line-chart-card").filter(
        has_text=re.compile("norm before and after clipping")
    )
    chart.get_by_text("Matches (2)").wait_for()
    updates = page.locator("tf-custom-scalar-multi-line-chart-card").filter(has_text=re.compile("update / weight"))
    updates.get_by_text(re.compile(r"Matches \([3-9]\)")).wait_for()


def test_hyperparameters_beside_metrics(opened, site):
    page = opened("#hparams")
    page.get_by_text("AdamW").first.wait_for()
    for words in ("optimizer", "learning_rate", "train accuracy", "validation loss"):
        page.get_by_text(words, exact=True).first.wait_for()
    for metric in ("accuracy", "loss", "val_accuracy", "val_loss"):
        page.get_by_text(f"{site[2][metric][-1]:#.5g}").first.wait_for()


def test_the_card_is_text(opened):
    page = opened("#text")
    page.get_by_text("2 epochs of 4 batches").first.wait_for()
    page.locator("code, pre").get_by_text("head (Dense)").first.wait_for()
    page.locator("code, pre").get_by_text("class_name").first.wait_for()


def test_pictures_are_drawn(opened):
    page = opened("#images")
    for tag in ("learning_rate/schedule", "samples/confusion_matrix", "samples/predictions"):
        page.get_by_text(f"tag: {tag}").first.wait_for()
    widths = "images => images.length >= 3 && images.every(image => image.naturalWidth > 100)"
    page.locator("tf-image-loader img").nth(2).wait_for()
    page.wait_for_timeout(500)
    assert page.locator("tf-image-loader img").evaluate_all(widths)
