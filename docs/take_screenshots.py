"""Takes the pictures of docs/ from a real TensorBoard, on the logs of `make demo`, in headless Chromium.

pip install "keras-kopt[docs]"
python docs/take_screenshots.py --logdir logs --browser /usr/bin/chromium
"""

import argparse
import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PAGES = {
    "tensorboard-scalars": "?smoothing=0&tagFilter=global_norm%7C%5Elearning_rate%24%7Closs%2Ftotal#timeseries",
    "tensorboard-layers": "?smoothing=0&tagFilter=update_to_weight.*kernel%7Cgradients_norm.*kernel#timeseries",
    "tensorboard-histograms": "#histograms",
    "tensorboard-custom-scalars": "#custom_scalars",
    "tensorboard-hparams": "#hparams",
    "tensorboard-text": "#text",
    "tensorboard-images": "#images",
}
SIZES = {"tensorboard-custom-scalars": (1400, 2200), "tensorboard-hparams": (1760, 500)}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@contextlib.contextmanager
def tensorboard(logdir: str) -> Iterator[str]:
    """Runs a TensorBoard server on a free port; yields its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError), urllib.request.urlopen(address):
                break
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Opens each page, waits for its charts, saves the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", default="logs")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--out", default=str(Path(__file__).parent))
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tensorboard(options.logdir) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=options.browser, args=FLAGS)
        page = browser.new_page()
        for name, place in PAGES.items():
            width, height = SIZES.get(name, (1400, 900))
            page.set_viewport_size({"width": width, "height": height})
            page.goto("about:blank")
            page.goto(f"{address}/{place}")
            page.wait_for_timeout(8000)
            settings = page.get_by_role("button", name="Settings", exact=True)
            if "timeseries" in place and settings.count():
                settings.first.click()
                page.wait_for_timeout(2000)
            page.screenshot(path=str(Path(options.out) / f"{name}.png"))
        browser.close()


if __name__ == "__main__":
    main()
