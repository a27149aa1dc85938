"""Tables for the terminal and plots for the eye; every figure comes from the JSON reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.table import Table

from mnistkit.common.paths import replacing
from mnistkit.common.terminal import printable
from mnistkit.measure.compare import standard_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mnistkit.measure.rows import BenchReport, BenchRow, VerifyReport, VerifyRow
    from mnistkit.nets.spec import NetSpec
    from mnistkit.quantization.layers import LayerFigures


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column is text and whose others are figures."""
    made = Table(title=printable(title), box=box.SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if index == 0 else "right"
        made.add_column(printable(column), justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*map(printable, row))
    return made


def verify_table(report: VerifyReport) -> Table:
    """One line per backend and precision; ± is the binomial standard error."""
    lines: list[tuple[str, ...]] = []
    for one in report.references:
        error = standard_error(one.accuracy, one.total)
        shown = f"{one.accuracy:.2%} ± {error:.2%}", f"{one.correct}/{one.total}"
        status = "wrong reference" if one.reason else "reference"
        lines.append((one.backend, one.precision, status, *shown, "", "", ""))
    for row in report.rows:
        found = row.figures
        if found is None:
            lines.append((row.backend, row.precision or "", _status(row, report), *[""] * 5))
            continue
        lines.append(
            (
                row.backend,
                row.precision or "",
                _status(row, report),
                f"{found.accuracy:.2%} ± {found.standard_error:.2%}",
                f"{found.correct}/{found.total}",
                f"{found.agreement:.2%}",
                f"{found.max_abs_diff:.2e}",
                f"{found.tolerance:g}",
            )
        )
    columns = (
        "backend",
        "precision",
        "status",
        "accuracy",
        "correct",
        "agreement",
        "max |Δlogit|",
        "tolerance",
    )
    title = f"{report.artifact['net']} on {report.dataset}: parity with the reference"
    return table(title, columns, lines)


def verify_lines(report: VerifyReport) -> list[str]:
    """What stands below the table: the reason of each row that is not ok, and where it differs."""
    lines = [
        f"wrong reference: {one.backend} {one.precision}: {one.reason}"
        for one in report.references
        if one.reason
    ]
    lines += [f"damaged: {text}" for text in report.damaged]
    for row in report.rows:
        if row.reason:
            lines.append(f"{_status(row, report)}: {row.name}: {row.reason}")
        for image in row.figures.differing if row.figures else ():
            got, wanted = (
                " ".join(f"{logit:.2f}" for logit in logits)
                for logits in (image.logits, image.reference_logits)
            )
            lines.append(
                f"{row.name} differs on image {image.index} ({image.label}): {got}, "
                f"reference {wanted}"
            )
    return lines


def _status(row: VerifyRow, report: VerifyReport) -> str:
    """The row's status; ``wrong (peer)`` for a peer whose failure does not count."""
    return "wrong (peer)" if row.status == "failed" and not report.counts(row) else row.status


def layers_table(layers: Sequence[LayerFigures], net: str) -> Table:
    """Where accuracy goes in the int8 net: one line per layer that has an output of its own."""
    lines = [
        (
            layer.name,
            f"{layer.largest:.3f}",
            "float logits" if layer.scale is None else f"{layer.scale:.5f}",
            f"{layer.saturated:.3%}",
            f"{layer.snr_db:.1f}",
        )
        for layer in layers
    ]
    columns = ("layer", "largest |value|", "scale", "saturated", "SNR dB")
    return table(f"{net} in int8, layer by layer", columns, lines)


def size_table(sizes: Mapping[str, int], net: str) -> Table:
    """Bytes of each exported model, and as a share of the fp32 file of its format."""
    lines = []
    for name, count in sizes.items():
        whole = sizes.get(f"model-fp32.{name.rpartition('.')[2]}")
        share = f"{count / whole:.0%}" if whole and name.startswith("model-") else ""
        lines.append((name, f"{count:,}", share))
    return table(f"{net}: what was written", ("file", "bytes", "of fp32"), lines)


def bench_table(report: BenchReport) -> Table:
    """One line per backend, precision and batch: the engine alone, then end to end."""
    engine = {_key(row): row for row in report.rows if not row.end_to_end}
    whole = {_key(row): row for row in report.rows if row.end_to_end}
    lines = []
    for key, row in engine.items():
        other = whole[key]
        line = {
            "backend": row.backend,
            "precision": row.precision,
            "batch": str(row.batch),
            "engine p50 µs": f"{row.p50_us:.1f}",
            "p99 µs": f"{row.p99_us:.1f}",
            "end-to-end p50 µs": f"{other.p50_us:.1f}",
            "images/s": f"{other.images_per_second:,.0f}",
            "load ms": f"{row.load_ms:.0f}",
            "peak MB": f"{row.peak_rss_mb:.0f}",
        }
        if report.roofline is not None:
            line["of peak"] = "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}"
        lines.append(line)
    first = report.rows[0]
    where = f"{report.environment['processor']}, {first.device}, {first.threads} thread(s)"
    title = f"{report.artifact['net']} on {where}"
    return table(title, tuple(lines[0]), [tuple(line.values()) for line in lines])


def bench_lines(report: BenchReport) -> list[str]:
    """What stands below the table: what was not timed, and why."""
    lines = [f"unavailable: {one.name}: {one.reason}" for one in report.unavailable]
    for one in report.wrong:
        lines.append(f"wrong{' (peer)' * one.peer}: {one.name}: {one.reason}")
    return lines


def roofline_text(roofline: Mapping[str, Any]) -> str:
    """One line: the core's measured peaks, and what an empty call costs."""
    rates = [
        f"{rate / 1e9:.0f} G multiply-adds/s in {precision}"
        for precision, rate in roofline["multiply_adds_per_second"].items()
        if rate
    ]
    peaks = " and ".join(rates) or "not measured: plain code"
    return (
        f"one core's peak ({roofline['kernels']}): {peaks}; "
        f"an empty call from Python: {roofline['empty_call_us']:.2f} µs"
    )


def _key(row: BenchRow) -> tuple[str, str, int]:
    return row.backend, row.precision, row.batch


def nets_table(specs: Iterable[NetSpec], accuracies: Mapping[str, float]) -> Table:
    """The zoo: size, cost and measured accuracy of each net."""
    lines = []
    for spec in specs:
        accuracy = accuracies.get(spec.name)
        lines.append(
            (
                spec.name,
                f"{spec.params:,}",
                f"{spec.multiply_adds:,}",
                f"{spec.receptive_field}",
                f"{spec.activation_values / 1024:.1f}",
                "" if accuracy is None else f"{accuracy:.2%}",
            )
        )
    columns = (
        "net",
        "parameters",
        "multiply-adds",
        "receptive field",
        "activations kB (int8)",
        "MNIST accuracy",
    )
    return table("nets", columns, lines)


def bench_plot(report: BenchReport, path: Path) -> None:
    """Write a PNG: throughput over batch size, and latency at the smallest batch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), constrained_layout=True)
    _plot_throughput(left, report)
    _plot_latency(right, report)
    title = f"{report.artifact['net']} on {report.environment['processor']}"
    figure.suptitle(title, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


def layers_plot(layers: Sequence[LayerFigures], net: str, path: Path) -> None:
    """Write a PNG: signal-to-noise ratio and saturation of each int8 layer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    names = [layer.name for layer in layers]
    left.barh(names, [layer.snr_db for layer in layers])
    left.set(xlabel="dB", title="signal-to-noise ratio against fp32")
    right.barh(names, [100 * layer.saturated for layer in layers], color="tab:red")
    right.set(xlabel="% of the values", title="saturated at 127")
    for axes in (left, right):
        axes.invert_yaxis()
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(f"{net} in int8", fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


def _plot_throughput(axes: Axes, report: BenchReport) -> None:
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in report.rows:
        if row.end_to_end:
            point = (row.batch, row.images_per_second)
            lines.setdefault((row.backend, row.precision), []).append(point)
    for (backend, precision), points in lines.items():
        batches, rates = zip(*sorted(points), strict=True)
        axes.plot(batches, rates, marker="o", label=f"{backend} {precision}")
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="images per second")
    ticks = sorted({batch for points in lines.values() for batch, _ in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_title("throughput, end to end")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)


def _plot_latency(axes: Axes, report: BenchReport) -> None:
    smallest = min(row.batch for row in report.rows)
    rows = [row for row in report.rows if row.batch == smallest and row.end_to_end]
    names = [f"{row.backend} {row.precision}" for row in rows]
    medians = [row.p50_us for row in rows]
    spread = [row.p99_us - row.p50_us for row in rows]
    axes.barh(names, medians, xerr=[[0] * len(rows), spread], capsize=3)
    for index, median in enumerate(medians):
        axes.text(median, index, f" {median:.0f}", va="bottom", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="µs (bar: median, whisker: 99th percentile)", xlim=(0, None))
    axes.set_title(f"latency at batch {smallest}, end to end")
    axes.grid(alpha=0.3, axis="x")


def doctor_tables(report: Mapping[str, Any]) -> list[Table]:
    """What is installed, the backends, and where data is looked for."""
    environment = report["environment"]
    installed = [(name, version, "") for name, version in environment["versions"].items()]
    absent = [(name, "not installed", f"pip install {name}") for name in report["not_installed"]]
    tools = [(name, path or "not found", "") for name, path in report["tools"].items()]
    backends = [
        (
            entry["name"],
            ", ".join(entry["precisions"]),
            "available" if entry["reason"] is None else "not available",
            entry["reason"] or "",
        )
        for entry in report["backends"]
    ]
    places = [
        ("processor", f"{environment['processor']}, {environment['cores']} cores"),
        ("CUDA device", report["cuda"] or "none seen"),
        ("MNIST", report["mnist"] or "found"),
        ("data folders", ", ".join(report["data_folders"])),
        ("pretrained nets", ", ".join(report["pretrained"]) or "none"),
    ]
    return [
        table("machine", ("", ""), places),
        _int8_table(report),
        table("packages and tools", ("name", "version", "get it with"), installed + absent + tools),
        table("backends", ("name", "precisions", "state", "what to do"), backends),
    ]


def _int8_table(report: Mapping[str, Any]) -> Table:
    """The CPU's int8 abilities, and the kernels that will run on it."""
    cpu, engine, torch = report["cpu"], report["kernels"]["engine"], report["kernels"]["torch"]
    dot = {True: "yes", False: "no", None: "not known"}[cpu["int8_dot_product"]]
    words = {one["name"]: one["description"] for one in engine["sets"]}
    others = [
        one["name"]
        for one in engine["sets"]
        if one["supported"] and one["name"] != engine["chosen"]
    ]
    runs = f"{engine['chosen']} ({words[engine['chosen']]})" if engine["chosen"] else "none"
    lines = [
        ("instructions", f"{cpu['architecture']}: {', '.join(cpu['instructions']) or 'not known'}"),
        ("int8 dot product", dot),
        ("int8 arithmetic", cpu["summary"]),
        ("the engine will run", f"{runs}: {engine['reason']}" if engine["reason"] else runs),
        ("the engine can run as well", ", ".join(others) or "nothing else"),
        (
            "PyTorch will run",
            f"{torch['int8_engine']} for int8; takes the CPU for {torch['cpu_capability']}"
            if torch
            else "nothing: it is not installed",
        ),
    ]
    return table("int8 on this CPU", ("", ""), lines)
