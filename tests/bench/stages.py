"""What the stages take, beside the paths that teams start with: `make bench`, or

    PYTHONPATH=images/base python -m tests.bench.stages --rounds 5 --only sound start --against nightreel-before

Both sides run in turns in one go, on the same media, weights and threads, in containers restricted as production's.
docs/benchmarks.md says what is measured and how to read the tables; `--write` puts each between its marks there.
Ends with 1 when results do not agree within the tolerances.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from console.engine import ensure_engine
from console.terminal import ConsoleError
from operators.errors import NightreelError
from tests.bench.bench_media import BenchMedia, make_bench_media
from tests.bench.clips import make_clips
from tests.bench.document import describe_machine, write_between_marks
from tests.bench.limit_rounds import reckon
from tests.bench.memory_rounds import compare_lengths
from tests.bench.picture_rounds import compare_pictures
from tests.bench.rounds import Table, summary
from tests.bench.shard_rounds import compare_phases, compare_shards
from tests.bench.sound_rounds import compare_sound
from tests.bench.stage_shard import StageImages
from tests.bench.start_rounds import compare_starts
from tests.images.vision.reference import reference_image
from tests.stage_container import LIMITS

SHORT_CLIPS = 12
SUMMARY = "summary"


@dataclass(frozen=True)
class Bench:
    """A run of the benchmark. `against` are other images of the stages; none when only ours are measured."""

    folder: Path
    media: BenchMedia
    rounds: int
    against: StageImages | None


def sound(bench: Bench) -> Table:
    """audio.transcribe against faster-whisper."""
    return compare_sound(bench.folder, bench.media, bench.rounds, bench.against, bench.media.recordings)


def pictures(bench: Bench) -> Table:
    """vision.analyze without text."""
    return _pictures(bench, text=False)


def text(bench: Bench) -> Table:
    """vision.analyze with text, as production runs it."""
    return _pictures(bench, text=True)


def start(bench: Bench) -> Table:
    """Imports and models, with a clip of two seconds."""
    (clip,) = make_clips(bench.folder / "archive", "clips", 1, bench.folder / "demo").items
    return compare_starts(bench.folder, bench.folder / "archive", clip.path, bench.rounds, bench.against)


def phases(bench: Bench) -> Table:
    """Where a film's time goes, by stage and phase."""
    archive, film = bench.media.archive, bench.media.spoken_film
    return compare_phases(bench.folder, archive, film, bench.rounds, bench.against)


def whole(bench: Bench) -> Table:
    """One container per asset and stage against one per shard and stage."""
    clips = make_clips(bench.folder / "archive", "clips", SHORT_CLIPS, bench.folder / "demo").items
    names = [clip.path for clip in clips]
    return compare_shards(bench.folder, bench.folder / "archive", names, bench.rounds, bench.against)


def limits(bench: Bench) -> Table:
    """How near the stages are to the machine's peaks."""
    return reckon(bench.folder, bench.media, bench.rounds)


def memory(bench: Bench) -> Table:
    """Four hours against ten minutes."""
    return compare_lengths(bench.folder, bench.media.recordings[0].text)


TABLES: dict[str, Callable[[Bench], Table]] = {
    function.__name__: function for function in (sound, pictures, text, start, phases, whole, limits, memory)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print Markdown. Returns the exit code: 1 when results do not agree, too."""
    arguments = _parse(argv)
    try:
        ensure_engine()
        _say("make the media")
        media = make_bench_media()
        tables = [_measure(name, media, arguments) for name in arguments.only]
    except (NightreelError, ConsoleError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if findings := [one for table in tables for one in table.findings]:
        _tell(SUMMARY, [_heading(arguments), "", *summary(findings)], arguments)
    return 0 if all(table.holds for table in tables) else 1


def _measure(name: str, media: BenchMedia, arguments: argparse.Namespace) -> Table:
    _say(f"measure {name}")
    against = StageImages(arguments.against) if arguments.against else None
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        # The user that stages run as comes in.
        folder.chmod(0o755)
        (folder / "archive").mkdir()
        table = TABLES[name](Bench(folder, media, arguments.rounds, against))
    verdict = [] if table.holds else ["", "**Beyond the tolerances.**"]
    _tell(name, [_heading(arguments), "", *table.lines, *verdict], arguments)
    return table


def _heading(arguments: argparse.Namespace) -> str:
    threads = int(LIMITS.cpus)
    return f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine(threads)}. Rounds: {arguments.rounds}, sides in turns."


def _tell(name: str, lines: Sequence[str], arguments: argparse.Namespace) -> None:
    told = "\n".join(lines)
    print(f"## {name}\n\n{told}\n", flush=True)
    # A summary of some tables does not replace that of all.
    if arguments.write and (name != SUMMARY or arguments.only == list(TABLES)):
        write_between_marks(arguments.write, told, (f"<!-- begin: bench {name} -->", f"<!-- end: bench {name} -->"))


def _pictures(bench: Bench, *, text: bool) -> Table:
    return compare_pictures(bench.folder, bench.media, bench.rounds, bench.against, reference_image(), text=text)


def _say(told: str) -> None:
    print(told, file=sys.stderr, flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (default 3)")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="some of the tables")
    parser.add_argument("--against", help="prefix of other images: nightreel-before for nightreel-before/audio:cpu")
    parser.add_argument("--write", type=Path, help="Markdown file to write the tables into, between their marks")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error(f"--rounds must be 1 or more: it is {arguments.rounds}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
