"""A run's summary for a terminal: `python -m operators.report --dag-id process_media --run-id …`.

Everything that comes from media, file names or models is cleaned before it is printed.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import OperationalError

from operators.clean_text import printable, printable_prose
from operators.database import connect
from operators.errors import NightreelError
from operators.run_summary import (
    AssetSummary,
    AttemptLine,
    Counted,
    Coverage,
    Item,
    PhaseLine,
    ResultFile,
    RunSummary,
    Speech,
    read_run,
)

WIDTH = 100
TRANSCRIPT_CHARACTERS = 600
COLOURS = {
    "done": "green",
    "rejected": "yellow",
    "failed": "red",
    "left": "cyan",
    "lost": "red",
    "device_failed": "red",
    "transient": "yellow",
    "cancelled": "magenta",
}
KIND_COLOURS = {"wait": "magenta", "overhead": "yellow", "work": "green"}
BAR_CELLS = 16


def render(run: RunSummary, results: Path | None = None) -> RenderableType:
    """The whole report. `results` is the results folder as the reader sees it, for the paths of files."""
    places = {item.asset_id: item for item in run.items if item.asset_id}
    parts: list[RenderableType] = [_heading(run), _items(run.items)]
    parts += [_asset(places[asset.asset_id], asset, results) for asset in run.assets]
    hidden = len(places) - len(run.assets)
    if hidden > 0:
        parts.append(Text(f"{hidden} more not shown in full; --assets {len(places)} shows all\n", "dim"))
    if run.troubles:
        parts.append(_troubles(run.troubles))
    if run.phases:
        parts += [_phases(run.phases), _coverage(run.coverage)]
    return Group(*parts)


def _heading(run: RunSummary) -> RenderableType:
    wall = f"{clock(run.coverage.wall_s)} from request to end" if run.finished_at else "goes on"
    line = Text.assemble(
        coloured(run.outcome), f"  {len(run.items)} files, {wall}, started {run.started_at:%Y-%m-%d %H:%M:%S} UTC\n"
    )
    return Group(Rule(Text(f"{printable(run.dag_id)}  {printable(run.run_id)}", "bold"), align="left"), line)


def _items(items: Sequence[Item]) -> RenderableType:
    table = _table("File", "Outcome", "Why")
    for item in items:
        why = printable_prose(": ".join(filter(None, (item.reason, item.message))))
        table.add_row(Text(printable(f"{item.root}/{item.path}")), coloured(item.outcome), Text(why, "dim"))
    return table


def _asset(item: Item, asset: AssetSummary, results: Path | None) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(asset):
        grid.add_row(name, value)
    for refused in asset.refused:
        grid.add_row(refused.stage, Text(printable_prose(f"{refused.reason}: {refused.message}"), "yellow"))
    if asset.files:
        grid.add_row("Files", _files(asset.files, results))
    title = Text(printable(f"{item.root}/{item.path}"), "bold")
    return Panel(grid, title=title, title_align="left", border_style="dim", box=box.ROUNDED)


def _facts(asset: AssetSummary) -> Iterable[tuple[str, Text]]:
    if asset.duration_s is not None:
        kinds = " and ".join(
            name for name, there in (("picture", asset.has_video), ("sound", asset.has_audio)) if there
        )
        yield "Media", Text(f"{clock(asset.duration_s)} of {kinds or 'neither picture nor sound'}")
    if asset.speech:
        yield "Speech", Text(_speech_line(asset.speech))
        if asset.speech.text:
            yield (
                "Transcript",
                Text(f"“{shorten(printable_prose(asset.speech.text), TRANSCRIPT_CHARACTERS)}”", "italic"),
            )
    if asset.tone:
        yield "Sentiment", Text(f"{asset.tone.label} ({asset.tone.score:+.2f}, {printable(asset.tone.engine)})")
    if asset.entities:
        yield "Names", _counted(asset.entities, "time")
    if asset.key_phrases:
        yield "Key phrases", Text(", ".join(map(printable_prose, asset.key_phrases)))
    if asset.frames:
        frames = asset.frames
        yield "Picture", Text(f"{frames.shots} shots, {frames.frame_count} frames, one each {frames.interval_s:g} s")
        yield "Objects", _counted(asset.objects, "frame") if asset.objects else Text("none", "dim")
    if asset.screen_texts:
        yield "On screen", _counted(asset.screen_texts, "frame")


def _speech_line(speech: Speech) -> str:
    if not speech.text:
        return "nobody speaks"
    sure = f" ({speech.language_probability:.0%} sure)" if speech.language_probability is not None else ""
    return f"{printable(speech.language or 'unknown language')}{sure}, {clock(speech.speech_duration_s)} of speech"


def _counted(things: Sequence[Counted], unit: str) -> Text:
    text = Text()
    for number, thing in enumerate(things):
        text.append(", " if number else "")
        text.append(shorten(printable_prose(thing.text), 60))
        label = f" {printable(thing.label)}" if thing.label else ""
        text.append(f"{label} {thing.count} {unit}{'s' * (thing.count > 1)}", "dim")
    return text


def _files(files: Sequence[ResultFile], results: Path | None) -> RenderableType:
    by_folder: dict[Path, list[str]] = {}
    for file in files:
        path = Path(file.path)
        by_folder.setdefault(path.parent, []).append(f"{printable(path.name)} ({size(file.size_bytes)})")
    of_asset = Path(*Path(files[0].path).parts[:2])
    lines = [Text(printable(str(results / of_asset if results else of_asset)), overflow="fold")]
    for folder, names in by_folder.items():
        lines += [Text(f"  {folder.relative_to(of_asset)}", "dim"), Text(f"    {', '.join(names)}")]
    return Group(*lines)


def _troubles(attempts: Sequence[AttemptLine]) -> RenderableType:
    table = _table("Task", "Try", "Outcome", "Exit", "What happened", title="Attempts that did not end well")
    for attempt in attempts:
        code = "" if attempt.exit_code is None else str(attempt.exit_code)
        message = Text(printable_prose(attempt.message))
        table.add_row(printable(attempt.task_id), str(attempt.try_number), coloured(attempt.outcome), code, message)
    return table


def _phases(phases: Sequence[PhaseLine]) -> RenderableType:
    table = _table("Phase", "Stage or task", "On", title="Where the time went")
    for name in ("n", "Total s", "Median s", "Share"):
        table.add_column(name, justify="right")
    table.add_column("", no_wrap=True)
    for line in phases:
        colour = KIND_COLOURS[line.kind]
        table.add_row(
            Text(line.phase, colour),
            printable(line.part),
            line.variant or "",
            str(line.count),
            f"{line.total_s:.2f}",
            f"{line.median_s:.2f}",
            f"{line.share:.1%}",
            Text("━" * round(BAR_CELLS * line.share / max(phases[0].share, 1e-9)), colour),
        )
    totals = {kind: sum(line.share for line in phases if line.kind == kind) for kind in KIND_COLOURS}
    table.caption = Text.assemble(*((f"{kind} {share:.0%}   ", KIND_COLOURS[kind]) for kind, share in totals.items()))
    table.caption_justify = "left"
    return table


def _coverage(coverage: Coverage) -> RenderableType:
    if coverage.share is None:
        return Text("")
    told = f"The phases account for {coverage.share:.1%} of the run's {coverage.wall_s:.1f} s."
    if coverage.longest_gap_at_s is not None:
        told += (
            f" Longest gap: {coverage.longest_gap_s:.2f} s, {coverage.longest_gap_at_s:.1f} s after it was asked for."
        )
    return Text(told)


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 1))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def coloured(outcome: str) -> Text:
    """An outcome in its colour."""
    return Text(outcome, COLOURS.get(outcome, ""))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut between words where there are any."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut else cut}…"


def clock(duration_s: float) -> str:
    """A duration as a person says it: `8.7 s`, `3 min 42 s`, `1 h 05 min`."""
    if duration_s < 59.95:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def size(size_bytes: int) -> str:
    """A size in the largest unit that leaves a number above one."""
    amount, unit = float(size_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report of the run that the arguments name."""
    parser = argparse.ArgumentParser(prog="report", description="What a run found, and where its time went.")
    parser.add_argument("--dag-id", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--results", type=Path, help="the results folder as you see it, for the paths of files")
    parser.add_argument("--assets", type=int, default=5, help="how many assets to show in full (default 5)")
    parser.add_argument("--color", action="store_true", help="colour even where the output is no terminal")
    arguments = parser.parse_args(argv)
    try:
        run = read_run(connect(), arguments.dag_id, arguments.run_id, arguments.assets)
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{printable_prose(str(error))}\n")
        return 1
    console = Console(force_terminal=arguments.color or None, highlight=False, emoji=False, markup=False)
    console.width = min(console.width, WIDTH) if console.is_terminal and not arguments.color else WIDTH
    console.print(render(run, arguments.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
