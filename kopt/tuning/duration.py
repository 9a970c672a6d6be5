"""How long something takes, as people say it."""


def duration(seconds: float) -> str:
    """Returns seconds as a rough text, such as "3 min"."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
