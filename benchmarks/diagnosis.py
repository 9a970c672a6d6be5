"""Does the doctor name what is wrong, and say nothing where nothing is? Kinds of runs it was made with, and not."""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import keras
from diagnosis_data import Kind
from diagnosis_faulty import FAULTY
from diagnosis_healthy import HEALTHY
from diagnosis_known import KNOWN
from diagnosis_table import judged, tables

import kopt

# Written down before any rule or threshold was: of the new kinds in alphabetical order, faulty and healthy ones apart,
# the second, fourth, ... are held out. The rules may look at all others.
HELD_OUT = {name for kinds in (FAULTY, HEALTHY) for name in sorted(kinds)[1::2]}
PARTS: dict[str, dict[str, Kind]] = {
    "known": dict(KNOWN),
    "tuning": {name: kind for name, kind in {**FAULTY, **HEALTHY}.items() if name not in HELD_OUT},
    "held-out": {name: kind for name, kind in {**FAULTY, **HEALTHY}.items() if name in HELD_OUT},
}
Row = dict[str, Any]


def trained(kind: Kind, part: str, seed: int, place: Path) -> Row:
    """Trains one run with the doctor beside it; its statistics go into a file, so that rules can be tried on them."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    run = kind.build(seed)
    data = run.data
    held = (data.x_val, data.y_val)
    doctor = kopt.callbacks.Diagnose(data.x, data.y, validation_probe=held)
    begin = time.process_time()
    run.model.fit(
        data.x, data.y, batch_size=run.batch_size, epochs=run.epochs, validation_data=held, verbose=0,
        callbacks=[doctor], **run.fit,
    )  # fmt: skip
    file = place / f"{kind.name}-{seed}.json"
    doctor.statistics.save(file)
    return {"kind": kind.name, "part": part, "seed": seed, "cpu": time.process_time() - begin, "file": file.name}


def main() -> None:
    """Trains what the folder lacks, judges all by the rules as they are now, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--kind", nargs="+", help="some kinds only")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--results", type=Path, default=Path("diagnosis"), help="a folder: kept, and gone on with")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.results.mkdir(parents=True, exist_ok=True)
    log = arguments.results / "runs.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["kind"], row["seed"]) for row in rows}
    for seed in range(arguments.seeds):
        for part in arguments.part:
            for name, kind in PARTS[part].items():
                if (name, seed) not in done and (not arguments.kind or name in arguments.kind):
                    rows.append(trained(kind, part, seed, arguments.results))
                    with log.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    kinds = {name: kind for part in arguments.part for name, kind in PARTS[part].items()}
    chosen = [row for row in rows if row["kind"] in kinds and row["seed"] < arguments.seeds]
    chosen = [row for row in chosen if not arguments.kind or row["kind"] in arguments.kind]
    for arrays in (True, False):
        shown = [judged(row, kinds[row["kind"]], arguments.results, arrays=arrays) for row in chosen]
        print(f"\n{'With' if arrays else 'Without'} the arrays:\n\n{tables(shown)}")
    print(f"\nCPU seconds: {sum(row['cpu'] for row in chosen):.0f}")


if __name__ == "__main__":
    main()
