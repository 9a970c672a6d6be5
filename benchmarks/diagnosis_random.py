"""What does the doctor say of runs that nobody thought out? Random networks and optimizers, judged by how they end."""

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
from diagnosis_data import Data, blobs, cancer, digits, friedman
from keras import layers

import kopt
from kopt.diagnosis import Statistics, diagnose
from kopt.diagnosis.reading import constant_loss

USUAL = {"SGD": 0.05, "momentum": 0.02, "Adam": 2e-3, "AdamW": 2e-3, "RMSprop": 1e-3, "Lion": 2e-4}
"""A usual learning rate for each optimizer; runs have 1/100 to 100 times as much."""
GOOD, POOR = 0.5, 0.9
"""Best validation loss as a fraction of a constant's: below the one a run is good, above the other it has failed."""


def _optimizer(name: str, rate: float) -> Any:
    made = {
        "SGD": lambda: keras.optimizers.SGD(rate),
        "momentum": lambda: keras.optimizers.SGD(rate, momentum=0.9),
        "Lion": lambda: kopt.optimizers.Lion(rate),
    }
    return made[name]() if name in made else getattr(keras.optimizers, name)(rate)


def trained(seed: int, number: int, place: Path) -> dict[str, Any]:
    """Trains a random run; returns its settings, and keeps its statistics."""
    rng = np.random.default_rng([seed, number])
    data_name = str(rng.choice(["digits", "blobs", "cancer", "friedman"]))
    data: Data = {"digits": digits, "blobs": blobs, "cancer": cancer, "friedman": friedman}[data_name](number)
    end, last, loss = {
        "digits": (10, "softmax", "sparse_categorical_crossentropy"),
        "blobs": (6, "softmax", "sparse_categorical_crossentropy"),
        "cancer": (1, "sigmoid", "binary_crossentropy"),
        "friedman": (1, None, "mse"),
    }[data_name]
    row = {
        "seed": seed,
        "number": number,
        "data": data_name,
        "activation": str(rng.choice(["relu", "tanh", "sigmoid", "gelu", "elu"])),
        "initializer": str(rng.choice(["glorot_uniform", "he_normal", "orthogonal", "lecun_normal"])),
        "units": [int(rng.choice([16, 32, 64, 128])) for _ in range(rng.integers(1, 5))],
        "norm": str(rng.choice(["none", "none", "none", "BatchNormalization", "LayerNormalization"])),
        "dropout": float(rng.choice([0.0, 0.0, 0.0, 0.2, 0.5])),
        "optimizer": str(rng.choice(list(USUAL))),
        "times": float(10 ** rng.uniform(-2, 2)),
        "batch_size": int(rng.choice([16, 32, 64, 128])),
    }
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(number)
    parts: list[Any] = [keras.Input(data.x.shape[1:])]
    for units in row["units"]:
        parts.append(layers.Dense(units, kernel_initializer=row["initializer"]))
        parts += [getattr(layers, row["norm"])()] if row["norm"] != "none" else []
        parts += [layers.Activation(row["activation"]), layers.Dropout(row["dropout"])]
    model = keras.Sequential([*parts, layers.Dense(end, last)])
    model.compile(_optimizer(row["optimizer"], row["times"] * USUAL[row["optimizer"]]), loss, metrics=["accuracy"])
    held = (data.x_val, data.y_val)
    doctor = kopt.callbacks.Diagnose(data.x, data.y, validation_probe=held)
    model.fit(data.x, data.y, row["batch_size"], 8, verbose=0, validation_data=held, callbacks=[doctor])
    doctor.statistics.save(place / f"random-{seed}-{number}.json")
    return row


def table(rows: list[dict[str, Any]], place: Path) -> str:
    """Returns what was told of good, middling and failed runs."""
    told: dict[str, list[tuple[dict[str, Any], list[str]]]] = {"good": [], "middling": [], "failed": []}
    for row in rows:
        stats = Statistics.load(place / f"random-{row['seed']}-{row['number']}.json")
        codes = {f.code for stage in stats.stages() for f in diagnose(stage) if f.severity != "info"}
        held = [loss for loss in stats.metric("val_loss") if np.isfinite(loss)]
        quality = min(held, default=np.inf) / (constant_loss(stats) or np.nan)
        told["good" if quality < GOOD else "failed" if quality > POOR else "middling"].append((row, sorted(codes)))
    lines = ["| runs | number | alarmed | what was told |", "|---|---|---|---|"]
    for name, found in told.items():
        counts = Counter(code for _, codes in found for code in codes)
        said = ", ".join(f"`{code}` {n}" for code, n in counts.most_common())
        lines.append(f"| {name} | {len(found)} | {sum(bool(codes) for _, codes in found)} | {said} |")
    lines.append("")
    for name, found in told.items():
        for row, codes in found:
            if (name == "failed") != bool(codes):
                setting = f"{row['optimizer']} x {row['times']:.2g}, {row['activation']}, {row['data']}, {row['norm']}"
                lines.append(f"* {name}, {row['number']}: {setting}: {', '.join(codes) or 'nothing told'}")
    return "\n".join(lines)


def main() -> None:
    """Trains what the folder lacks, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=8, help="of the settings; 7 has been looked at for a threshold")
    parser.add_argument("--results", type=Path, default=Path("diagnosis"), help="a folder: kept, and gone on with")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.results.mkdir(parents=True, exist_ok=True)
    log = arguments.results / f"random-{arguments.seed}.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for number in range(len(rows), arguments.runs):
        rows.append(trained(arguments.seed, number, arguments.results))
        with log.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows[: arguments.runs], arguments.results))


if __name__ == "__main__":
    main()
