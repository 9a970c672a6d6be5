"""Races a dozen optimizers on 5,000 MNIST digits: one network, one schedule, the same number of steps for each.

Every optimizer starts from the same weights and sees the same batches. The learning rates in `ENTRANTS` had the lowest
validation loss on a coarse grid (four rates, each about three times the one before) on this very problem with one seed;
weight decay is 0.01 where it is decoupled; Prodigy, which estimates its rate, was not tuned. Expect differences of a
percent to be luck: change `--seed` and the order changes.

    python recipes/03_optimizer_race.py --only adamw muon soap
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import command_line, optimizer_class, parsed, say_where, show
from digits import digits, network

BATCH_SIZE = 64
# Learning rate, then further arguments.
ENTRANTS: dict[str, tuple[float, dict[str, Any]]] = {
    "SGD": (0.1, {"momentum": 0.9, "nesterov": True}),
    "RMSprop": (0.01, {}),
    "Adam": (0.01, {}),
    "AdamW": (0.01, {"weight_decay": 0.01}),
    "Lion": (0.003, {"weight_decay": 0.01}),
    "Adan": (0.01, {}),
    "Muon": (0.01, {"weight_decay": 0.01}),
    "SOAP": (0.01, {"weight_decay": 0.01}),
    "Shampoo": (0.01, {}),
    "LAMB": (0.03, {}),
    "ScheduleFreeAdamW": (0.01, {}),
    "Prodigy": (1.0, {}),
}
SCHEDULE_FREE = {"ScheduleFreeAdamW", "ScheduleFreeSGD"}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; Keras is not imported yet, because the backend is chosen here."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, default=4, help="passes over the training digits (default 4)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="any of kopt.optimizers (default: the dozen)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default 0)")
    parser.add_argument("--gradients", type=int, default=20, help="log gradients every so many steps (default 20)")
    return parsed(parser, argv, epochs=1)


def entrant(name: str, steps: int) -> Any:
    """Returns an optimizer of the race, under warm-up and cosine decay unless it is schedule-free."""
    import kopt

    kind = optimizer_class(name, "--only")
    if kind.__name__ not in ENTRANTS:
        return kind()
    rate, further = ENTRANTS[kind.__name__]
    if kind.__name__ in SCHEDULE_FREE:
        return kind(rate, **further)
    schedule = kopt.schedules.Warmup(kopt.schedules.CosineDecay(rate, steps), steps=max(1, steps // 20))
    return kind(schedule, **further)


def race(
    optimizer: Any, data: tuple[Any, Any, Any, Any], directory: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Trains one network; returns what the table shows."""
    import keras

    import kopt

    keras.utils.set_random_seed(options.seed)
    x, x_val, y, y_val = data
    model = network()
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    board = kopt.callbacks.TensorBoard(str(directory), gradients=options.gradients, update_freq="batch")
    start = time.process_time()
    model.fit(x, y, BATCH_SIZE, options.epochs, verbose=0, callbacks=[board])
    seconds = time.process_time() - start
    train = model.evaluate(x, y, 500, verbose=0, return_dict=True)
    validation = model.evaluate(x_val, y_val, 500, verbose=0, return_dict=True)
    state = sum(4 * math.prod(slot.shape) for slot in optimizer.slot_variables)
    return {
        "loss": train["loss"],
        "accuracy": validation["accuracy"],
        "seconds": seconds,
        "bytes": state / model.count_params(),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the race, prints the table, and returns its figures."""
    options = arguments(argv)
    data = digits()
    steps = options.epochs * -(-len(data[0]) // BATCH_SIZE)
    optimizers = [entrant(name, steps) for name in options.only or ENTRANTS]
    run_dir = Path(options.log_dir) / f"race-{time.strftime('%Y%m%d-%H%M%S')}"
    results = {}
    for optimizer in optimizers:
        name = type(optimizer).__name__
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        results[name] = race(optimizer, data, run_dir / name, options)
    rows = [
        (name, f"{r['accuracy']:.3f}", f"{r['loss']:.4f}", f"{r['seconds']:.1f}", f"{r['bytes']:.0f}")
        for name, r in sorted(results.items(), key=lambda item: -item[1]["accuracy"])
    ]
    columns = ("optimizer", "validation accuracy", "training loss", "CPU seconds", "state, bytes per weight")
    show(f"{steps} steps of {BATCH_SIZE} digits each", columns, rows)
    say_where(run_dir, run_dir)
    return {"results": results, "run_dir": str(run_dir), "steps": steps}


if __name__ == "__main__":
    main()
