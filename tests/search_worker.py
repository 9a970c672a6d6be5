"""One process of a search in several: the chief or a worker, as KerasTuner's environment variables say."""

import os
import sys
import time

import keras_tuner

from kopt.tuning import OptunaOracle


class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs trials of a second; `--die` dies in its first one, `--fail` fails in each."""

    def run_trial(self, trial, *arguments, **keywords):
        hp = trial.hyperparameters
        self.hypermodel.build(hp)
        if "--die" in sys.argv:
            os._exit(1)
        # So that each worker gets some before the search is over: the chief waits for those only that it knows.
        time.sleep(3 if "--fail" in sys.argv else 1)
        if "--fail" in sys.argv:
            raise ArithmeticError("diverged")
        loss = (hp.get("x") - 0.3) ** 2 + hp.values.get("y", 0.5)
        for epoch in range(9):
            answer = self.oracle.update_trial(trial.trial_id, {"__report__": loss + 1 / (epoch + 1)}, step=epoch)
            if answer.status == "STOPPED":
                break
        return {"loss": loss + 1 / (epoch + 1)}


def build(hp):
    kind = hp.Choice("kind", ["a", "b"])
    hp.Float("x", 0, 1)
    with hp.conditional_scope("kind", ["a"]):
        if kind == "a":
            hp.Float("y", 0, 1)


if __name__ == "__main__":
    objective = keras_tuner.Objective("loss", "min")
    failures = {"max_consecutive_failed_trials": 3} if "--fail" in sys.argv else {}
    oracle = OptunaOracle(objective, 10, pruner="asha", seed=0, worker_timeout=3, **failures)
    tuner = Tuner(oracle=oracle, hypermodel=build, directory=sys.argv[1], project_name="search")
    tuner.search(verbose=0)
    if os.environ["KERASTUNER_TUNER_ID"] == "chief":
        pruned = sum(oracle.is_pruned(trial_id) for trial_id in oracle.trials)
        statuses = sorted(trial.status for trial in oracle.trials.values())
        sys.stdout.write(f"statuses {statuses} pruned {pruned}\n")
