"""The pictures of benches/peers/sweep, which calls this with a Python that has matplotlib.

    plots.py SWEEP.json FOLDER

settings.svg: a column for each property, a row for each figure, a line for each case. front.svg: what a shorter
fetch wait costs the broker, and what it gives.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
# The same data, the same file.
matplotlib.rcParams.update({"svg.hashsalt": "fairpoll", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot  # noqa: E402

ROWS = [
    ("records_per_s", "M records/s", 1e-6),
    ("wait_p50_ms", "quiet record's wait, p50, ms", 1),
    ("rss_peak_mib", "RSS, MiB", 1),
    ("starved_polls_max", "starved, polls", 1),
]
WAIT = "fetch.wait.max.ms"


def curve(axes, case, key, metric, scale, label):
    figures = {p["value"]: p["metrics"][metric] for p in case["points"] if p["property"] == key}
    if key in case["defaults"]:
        figures[case["defaults"][key]] = case["fixed"]["fair"][metric]
    at = sorted(value for value, measured in figures.items() if measured)
    mid, low, high = ([figures[value][i] * scale for value in at] for i in range(3))
    (line,) = axes.plot(at, mid, marker="o", markersize=3, linewidth=1.2, label=label)
    axes.fill_between(at, low, high, alpha=0.15, color=line.get_color(), linewidth=0)


def settings(cases):
    keys = list(dict.fromkeys(point["property"] for case in cases.values() for point in case["points"]))
    size = (3.2 * len(keys), 2.3 * len(ROWS))
    figure, grid = pyplot.subplots(len(ROWS), len(keys), figsize=size, sharex="col", sharey="row", squeeze=False)
    for column, key in enumerate(keys):
        values = {p["value"] for case in cases.values() for p in case["points"] if p["property"] == key}
        for row, (metric, head, scale) in enumerate(ROWS):
            axes = grid[row][column]
            for name, case in cases.items():
                curve(axes, case, key, metric, scale, name)
            chosen = {case["defaults"][key] for case in cases.values() if key in case["defaults"]}
            for value in chosen:
                axes.axvline(value, color="gray", linestyle=":", linewidth=1)
            axes.set_xscale("log")
            axes.grid(alpha=0.3)
            if column == 0:
                axes.set_ylabel(head)
            if row == 0:
                axes.set_title(key)
        last = grid[-1][column]
        last.set_xticks(sorted(values | chosen), minor=False)
        last.xaxis.set_major_formatter(lambda value, _: short(int(value)))
        last.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        last.tick_params(axis="x", rotation=45)
    # Shared by a row, and once everything is drawn.
    for row in grid:
        row[0].set_ylim(bottom=0)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    return figure


def front(beside, idle):
    """Broker time of idle consumers to what deep topics beside idle ones drain at."""
    figure, axes = pyplot.subplots(figsize=(6.4, 4))
    at = []
    for case, metric in ((idle, "broker_ratio"), (beside, "records_per_s")):
        figures = {p["value"]: p["metrics"][metric] for p in case["points"] if p["property"] == WAIT}
        figures[case["defaults"][WAIT]] = case["fixed"]["fair"][metric]
        at.append(figures)
    waits = sorted(at[0].keys() & at[1].keys())
    x, y = [at[0][wait] for wait in waits], [[figure * 1e-6 for figure in at[1][wait]] for wait in waits]
    axes.errorbar(
        [mid for mid, *_ in x],
        [mid for mid, *_ in y],
        xerr=[[mid - low for mid, low, _ in x], [high - mid for mid, _, high in x]],
        yerr=[[mid - low for mid, low, _ in y], [high - mid for mid, _, high in y]],
        marker="o",
        linewidth=1.2,
        elinewidth=0.5,
    )
    for wait, (across, *_), (up, *_) in zip(waits, x, y):
        axes.annotate(f"{wait} ms", (across, up), textcoords="offset points", xytext=(7, 5))
    single = beside["fixed"]["single"]["records_per_s"][0] * 1e-6
    axes.axhline(single, color="gray", linestyle=":", label="`single`, whose cap is on the poll")
    axes.axvline(1.2, color="gray", linestyle="--", label="1.2 times a default consumer's broker time")
    axes.set_xlabel("broker's time for an idle consumer of 50 topics, to that for one with defaults")
    axes.set_ylabel("M records/s of deep topics beside idle ones")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    return figure


def short(value):
    for unit, of in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= of and value % of == 0:
            return f"{value // of:g} {unit}"
    return f"{value:,.0f}"


def main(path, folder):
    cases = json.loads(pathlib.Path(path).read_text())
    idle = cases.pop("idle", None)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"settings.svg": settings(cases)}
    if idle and "beside-idle" in cases:
        drawn["front.svg"] = front(cases["beside-idle"], idle)
    for name, figure in drawn.items():
        figure.savefig(folder / name, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
