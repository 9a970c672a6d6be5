"""All rules together: what is wrong with a run, the most likely cause first."""

from kopt.diagnosis import curve_rules, data_rules, number_rules, step_rules, structure_rules
from kopt.diagnosis.finding import Finding
from kopt.diagnosis.order import ordered
from kopt.diagnosis.statistics import Statistics

RULES = (*data_rules.RULES, *structure_rules.RULES, *number_rules.RULES, *step_rules.RULES, *curve_rules.RULES)


def diagnose(statistics: Statistics) -> list[Finding]:
    """Returns what is wrong with a run, the most likely cause first; pure Python, on what was seen of the run.

    Each rule looks for one problem, and says nothing where what it needs was not seen. Findings that another one
    explains are left out: `kopt.diagnosis.order` has the order, `docs/diagnosis.md` all rules and thresholds.

    Args:
        statistics: A `kopt.diagnosis.Statistics`: from `kopt.callbacks.Diagnose`, `Statistics.load`, or
            `kopt.callbacks.read_statistics`.

    Returns:
        A list of `kopt.diagnosis.Finding`, empty for a run in which nothing wrong was found.

    Raises:
        ValueError: `statistics` is something else.

    Example:

    ```python
    statistics = kopt.diagnosis.Statistics.load("logs/run/diagnosis.json")
    for finding in kopt.diagnose(statistics):
        print(finding)
    ```
    """
    if not isinstance(statistics, Statistics):
        raise ValueError(
            f"`statistics` must be a `kopt.diagnosis.Statistics`. Received: statistics={type(statistics).__name__}. "
            'For the directory of a run there is `kopt.callbacks.read_statistics("logs/run")`.'
        )
    return ordered([finding for rule in RULES for finding in rule(statistics)])
