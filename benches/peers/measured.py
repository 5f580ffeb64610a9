"""What the peers' tools share: modes that vary a property, and figures as they are printed.

    python3 benches/peers/measured.py SCENARIO.yaml KEY=VALUE,...

prints the scenario with `fair` under each value of a librdkafka property, instead of its modes.
"""

import sys
from statistics import median


def varied(scenario, what, keep=()):
    """The scenario's text with a mode `fair-VALUE` for each value of KEY=VALUE,...; of its own modes those named in
    `keep` stay, behind them. ValueError: `what` is something else."""
    key, equals, values = what.partition("=")
    values = values.split(",")
    if not (key and equals and all(values)):
        raise ValueError(f"--vary {what}: KEY=VALUE,... is wanted, such as fetch.wait.max.ms=10,100")
    lines = []
    for line in scenario.splitlines():
        # One line each, as the scenarios here have them.
        if line.startswith("  - {name: ") and (", mode: " in line or ", command: " in line):
            if line.split("name: ")[1].split(",")[0] not in keep:
                continue
        lines.append(line)
        if line == "modes:":
            lines += [f"  - {{name: fair-{value}, mode: fair, properties: {{{key}: {value}}}}}" for value in values]
    return "\n".join(lines) + "\n"


def spread(values, digits=2):
    """The median, and the range in parentheses where there is one; a dash where nothing was measured."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    low, mid, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return mid if low == high else f"{mid} ({low}–{high})"


if __name__ == "__main__":
    _, path, change = sys.argv
    try:
        with open(path, encoding="utf-8") as file:
            print(varied(file.read(), change), end="")
    except ValueError as error:
        sys.exit(f"race: {error}")
