"""What the peers' tools share: a Kafka of their own, modes that vary a property, and figures as they are printed.

    python3 benches/peers/measured.py SCENARIO.yaml KEY=VALUE,...

prints the scenario with `fair` under each value of a librdkafka property, instead of its modes.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from statistics import median

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Ended, a tool ends what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def run(command):
    """Runs it to its end, also when this process is to end: what it started is ended then. CalledProcessError."""
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code != 0:
        raise subprocess.CalledProcessError(code, command)


@contextlib.contextmanager
def kafka(state, *options):
    """A Kafka as plain processes, by containers/kafka/local-broker with these options, its state in a folder that is not
    there yet. Gives HOST:PORT,...; ended on leaving."""
    command = [str(ROOT / "containers/kafka/local-broker")]
    environment = os.environ | {"FAIRPOLL_BROKER_STATE": str(state)}
    try:
        started = subprocess.run([*command, "start", *options], env=environment, check=True, stdout=subprocess.PIPE, text=True)
        yield started.stdout.split("bootstrap: ")[1].strip()
    finally:
        subprocess.run([*command, "stop"], env=environment, check=True)


def mode_of(key, value):
    """The name of `fair` under a value of a property."""
    return f"fair-{key.replace('.', '-')}-{value}"


def with_values(scenario, key, values):
    """The scenario's text with a mode of `fair` for each value of a property, in front of its own modes, and which name
    stands for which value."""
    names = {mode_of(key, value): value for value in values}
    modes = "".join(f"  - {{name: {name}, mode: fair, properties: {{{key}: {value}}}}}\n" for name, value in names.items())
    return scenario.replace("\nmodes:\n", f"\nmodes:\n{modes}", 1), names


def varied(scenario, what, keep=()):
    """The scenario's text with a mode `fair-KEY-VALUE` for each value of KEY=VALUE,...; of its own modes those named in
    `keep` stay, behind them. ValueError: `what` is something else."""
    key, equals, values = what.partition("=")
    values = values.split(",")
    if not (key and equals and all(values)):
        raise ValueError(f"--vary {what}: KEY=VALUE,... is wanted, such as fetch.wait.max.ms=10,100")

    def stays(line):
        # One line each, as the scenarios here have them.
        if line.startswith("  - {name: ") and (", mode: " in line or ", command: " in line):
            return line.split("name: ")[1].split(",")[0] in keep
        return True

    kept = "".join(f"{line}\n" for line in scenario.splitlines() if stays(line))
    return with_values(kept, key, values)[0]


def figures(values):
    """Median, lowest, highest, to be stored; nothing where nothing was measured."""
    values = [value for value in values if value is not None]
    return [round(value, 4) for value in (median(values), min(values), max(values))] if values else None


def spread(values, digits=2):
    """The median, and the range in parentheses where there is one; a dash where nothing was measured."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    low, mid, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return mid if low == high else f"{mid} ({low}–{high})"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    _, path, change = sys.argv
    try:
        with open(path, encoding="utf-8") as file:
            print(varied(file.read(), change), end="")
    except ValueError as error:
        sys.exit(f"race: {error}")
