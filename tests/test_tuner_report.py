"""The page about a search, and what it says about hyperparameters."""

import re
from html.parser import HTMLParser

import keras
import keras_tuner
import numpy as np
import pytest
from searches import Curve, curve_tuner

from kopt import tuning
from kopt.tuning import charts
from kopt.tuning.importances import encoded, importances

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trains nothing: the same anywhere")


class Reader(HTMLParser):
    """Collects the elements of a page, and sees that each one that is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open[-1] == tag:
            self.open.pop()

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


class Branches(Curve):
    """A space with a branch: `depth` is there with "deep" only."""

    def build(self, hp):
        hp.Float("u", 1e-4, 1.0, sampling="log")
        hp.Choice("kind", ["<deep>", "flat"])
        with hp.conditional_scope("kind", ["<deep>"]):
            hp.Int("depth", 1, 4)
        return keras.Sequential([keras.layers.Dense(1)])


def test_the_page_shows_every_trial_and_needs_nothing_else(tmp_path):
    objective = keras_tuner.Objective("score", "min")
    tuner = tuning.Tuner(Branches({3: lambda: 1 / 0}), objective=objective, max_trials=12, seed=0, directory=tmp_path)
    tuner.search(verbose=0)
    path = tuner.report(tmp_path / "report.html")
    page = read(path)
    source = path.read_text()
    assert "http" not in source
    assert not [tag for tag, attributes in page.tags if {"src", "href"} & set(attributes)]
    assert "<deep>" not in source
    kinds = [attributes.get("class") for _, attributes in page.tags]
    slices = 3
    assert kinds.count("completed") == 11 * (1 + slices)
    assert kinds.count("trial") == 11
    assert kinds.count("bar") == slices
    text = " ".join(page.texts)
    best = tuner.best_trials()[0]
    assert f"Best: trial {best.trial_id}, score {best.score:.6g}" in text
    assert "ZeroDivisionError: division by zero" in text
    assert "Traceback (most recent call last)" in text
    assert len(re.findall("<tr>", source)) == 13
    assert "nan" not in source


def test_few_trials_and_none_make_a_page_too(tmp_path):
    tuner = curve_tuner(tmp_path, {0: lambda: 1 / 0}, max_trials=1)
    read(tuner.report(tmp_path / "none.html"))
    tuner.search(verbose=0)
    read(tuner.report(tmp_path / "failed.html"))
    more = curve_tuner(tmp_path, max_trials=2, on_existing="resume")
    more.search(verbose=0)
    assert "They need 5 trials" in more.report(tmp_path / "one.html").read_text()
    with pytest.raises(ValueError, match=r"at least 5 trials that have run to their end. Received: 1"):
        more.importances()


def test_importances_find_what_matters():
    rng = np.random.default_rng(0)
    settings, objective = [], []
    for _ in range(60):
        rate, kind, noise = 10 ** rng.uniform(-4, 0), str(rng.choice(["a", "b"])), rng.uniform()
        branch = {"depth": int(rng.integers(4))} if kind == "a" else {}
        settings.append({"noise": noise, "rate": rate, "kind": kind} | branch)
        objective.append(3 * (np.log10(rate) + 2) ** 2 + (kind == "b"))
    shares = importances(settings, objective)
    assert next(iter(shares)) == "rate"
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["rate"] > 0.6
    assert shares["noise"] < 0.1
    assert shares == importances(settings, objective)
    # A trial that went very wrong is one trial.
    assert importances(settings, [*objective[:-1], 1e12])["rate"] > 0.6
    assert set(importances(settings, [1.0] * 60).values()) == {0.0}


def test_hyperparameters_become_columns():
    np.testing.assert_allclose(encoded([1, None, 3]), [[1], [1 - 1 - 2], [3]])
    np.testing.assert_allclose(encoded([1e-4, 1.0]), np.log([[1e-4], [1.0]]))
    np.testing.assert_array_equal(encoded(["a", None, "b"]), np.eye(3))
    np.testing.assert_array_equal(encoded([True, False]), np.eye(2))


def test_axes_place_values():
    axis = charts.Axis([1e-4, 1e-2, 1.0], 0, 100)
    assert [axis.at(value) for value in (1e-4, 1e-2, 1.0)] == pytest.approx([0, 50, 100])
    assert axis.at(None) == pytest.approx(-8)
    assert charts.Axis([0, 5, 10], 100, 0).at(5) == 50
    assert [charts.Axis(["b", "a", "c"], 0, 1).at(kind) for kind in "abc"] == [0, 0.5, 1]
    assert charts.Axis([3, 3], 0, 10).at(3) == 5
