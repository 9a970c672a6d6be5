"""What a diagnosis says: one problem of a run, its evidence, and what would mend it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One problem of a training run.

    Attributes:
        code: Name of the problem, such as `"DOUBLE_SOFTMAX"`.
        severity: `"error"` (the run cannot give what is asked of it), `"warning"` or `"info"`.
        sentence: What is wrong, with the figures.
        advice: What would mend it, with a call where there is one.
        where: Layer, variable, input or output that it is about; `""` for all of the run.
        evidence: The figures by name.
        step: Optimizer step at which it was seen; None for what does not depend on one.

    Args:
        code: As above.
        severity: As above.
        sentence: As above.
        advice: As above.
        where: As above.
        evidence: As above.
        step: As above.
    """

    code: str
    severity: str
    sentence: str
    advice: str
    where: str = ""
    evidence: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    step: int | None = None

    def __str__(self) -> str:
        return f"{self.code} ({self.severity}): {self.sentence} {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the finding as a dict that JSON can hold."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "step": self.step,
            "sentence": self.sentence,
            "advice": self.advice,
            "evidence": dict(self.evidence),
        }


def shown(value: float) -> str:
    """Returns a number as a sentence shows it."""
    return f"{value:.3g}"


def listed(names: list[str], most: int = 3) -> str:
    """Returns names as a sentence shows them: some of them, and how many more there are."""
    head = ", ".join(f"`{name}`" for name in names[:most])
    return head if len(names) <= most else f"{head} and {len(names) - most} more"
