"""A diagnosis as a text: Markdown for TensorBoard's "Text" page."""

from collections.abc import Sequence

from kopt.diagnosis.finding import Finding

HEALTHY = "Nothing wrong was found."


def markdown(findings: Sequence[Finding]) -> str:
    """Returns findings as Markdown, one paragraph for each."""
    if not findings:
        return HEALTHY
    blocks = []
    for finding in findings:
        where = f" in `{finding.where}`" if finding.where else ""
        figures = ", ".join(f"{name} = {_shown(value)}" for name, value in finding.evidence.items())
        evidence = f"\n\n    {figures}" if figures else ""
        blocks.append(
            f"### {finding.code}{where} ({finding.severity})\n\n{finding.sentence}\n\n**{finding.advice}**{evidence}"
        )
    return "\n\n".join(blocks)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
