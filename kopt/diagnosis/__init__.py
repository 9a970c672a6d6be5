"""What is wrong with a run: rules over what was seen of it, root causes first, in plain Python."""

from kopt.diagnosis.doctor import diagnose
from kopt.diagnosis.finding import Finding
from kopt.diagnosis.statistics import Look, Statistics

__all__ = ["Finding", "Look", "Statistics", "diagnose"]
