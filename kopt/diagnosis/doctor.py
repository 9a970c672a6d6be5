"""All rules together: what is wrong with a run, the most likely cause first."""

from kopt.diagnosis.finding import Finding
from kopt.diagnosis.statistics import Statistics


def diagnose(statistics: Statistics) -> list[Finding]:
    return []
