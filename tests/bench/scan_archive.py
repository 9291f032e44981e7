"""Scans an archive of many small films: first, again, after renames, and with ever more names.

    python -m tests.bench.scan_archive

Needs the media image, for the films, and Docker or NIGHTREEL_TEST_DSN, for a Postgres. Prints Markdown; the files are
in the system's cache when they are hashed, so that the figures are the scan's and not the disk's.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from console.terminal import REPOSITORY
from operators.migrate import migrate
from tests.bench.document import describe_machine
from tests.bench.many_media import distinct, file_name, fill, make_clips, unprobed
from tests.bench.scan_process import Taken
from tests.postgres import made_database, serving

MB = 1_000_000
PROBED = 20
LEAST_RATIO = 20
WITHOUT_RESULTS = text(
    "select count(*) from media_asset as m "
    "where not exists (select from stage_result as r where r.asset_id = m.asset_id)"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all of it and print the tables. Returns 1 when a promise is broken."""
    arguments = _parse(argv)
    with tempfile.TemporaryDirectory(prefix="scan-archive-", dir=arguments.scratch) as scratch, serving(True) as server:
        folder = Path(scratch)
        folder.chmod(0o755)
        print("make the clips", file=sys.stderr)
        (folder / "clips").mkdir()
        clips = [clip.read_bytes() for clip in make_clips(folder / "clips")]
        print(f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine(1)}, Python's SHA-256, Postgres 15.\n")
        with made_database(server) as database:
            migrate(database)
            broken = films(database, folder / "films", arguments.files, clips)
        names_of = [arguments.files, *arguments.names]
        peaks = []
        print("\n| names, first scan and second | files/s | unchanged files/s | peak memory, MiB |\n|---|---|---|---|")
        for number, count in enumerate(names_of):
            with made_database(server) as database:
                migrate(database)
                peaks.append(names(database, folder / f"names_{number}", count))
    broken += [] if max(peaks) - min(peaks) < min(peaks) / 10 else [f"memory grows with the names: {peaks} MiB"]
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


def films(database: Engine, folder: Path, files: int, clips: Sequence[bytes]) -> list[str]:
    """Scan real films: first, unchanged, and with a tenth renamed. Returns the promises that were broken."""
    print(f"write {files} films", file=sys.stderr)
    size_bytes = fill(folder, files, clips)
    some = [folder / file_name(number) for number in range(0, files, max(1, files // PROBED))]
    broken = [f"a film must pass ffprobe: {told}" for told in unprobed(some)]
    print(f"{files} films, {size_bytes / MB:.0f} MB; {len(some) - len(broken)} of {len(some)} passed ffprobe.\n")
    first = scan(database, folder)
    again = [scan(database, folder) for _ in range(3)]
    second = min(again, key=lambda taken: taken.duration_s)
    before, renamed = _assets(database), files // 10
    for number in range(renamed):
        path = folder / file_name(number)
        path.rename(path.with_name(f"renamed {path.name}"))
    third = scan(database, folder)
    after, ratio = _assets(database), first.duration_s / second.duration_s
    print("| scan | s | files/s | hashed | MB/s | peak memory, MiB |\n|---|---|---|---|---|---|")
    for name, taken in {"first": first, "unchanged, best of three": second, f"{renamed} renamed": third}.items():
        rate = taken.bytes_hashed / MB / taken.duration_s
        print(
            f"| {name} | {taken.duration_s:.2f} | {taken.found / taken.duration_s:.0f} | {taken.hashed} | {rate:.0f} | "
            f"{taken.peak_mib:.0f} |"
        )
    print(f"\n- An unchanged archive is scanned {ratio:.0f} times as fast as a new one.")
    print(f"- Renames: {third.known_content} known by content; assets without results {before} before, {after} after.")
    if first.hashed != files or second.hashed or second.unchanged != files:
        broken.append(f"each file must be hashed once: first {first}, second {second}")
    if ratio < LEAST_RATIO:
        broken.append(f"an unchanged archive must scan {LEAST_RATIO} times as fast: it is {ratio:.1f}")
    if (third.known_content, third.vanished, after) != (renamed, renamed, before):
        broken.append(f"renames must cost no stage work: {third}, {before} assets before, {after} after")
    return broken


def names(database: Engine, folder: Path, count: int) -> float:
    """Scan that many tiny files twice. Returns the higher of the two peaks, in MiB."""
    print(f"write {count} names", file=sys.stderr)
    fill(folder, count, [distinct(b"", 0)])
    first, second = scan(database, folder), scan(database, folder)
    peak_mib = max(first.peak_mib, second.peak_mib)
    rates = f"{count / first.duration_s:.0f} | {count / second.duration_s:.0f}"
    print(f"| {count} | {rates} | {peak_mib:.1f}, {first.idle_mib:.1f} of it before the scan |")
    return peak_mib


def scan(database: Engine, folder: Path) -> Taken:
    """One scan in a process of its own.

    Raises:
        CalledProcessError: it failed; its words are on stderr.
    """
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.bench.scan_process", url, str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    return Taken.model_validate_json(done.stdout)


def _assets(database: Engine) -> int:
    with database.begin() as connection:
        return int(connection.execute(WITHOUT_RESULTS).scalar_one())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5_000, help="films, 100 to 400 KB each")
    parser.add_argument("--names", type=int, nargs="*", default=[50_000], help="how many tiny files for the memory")
    parser.add_argument("--scratch", type=Path, help="where the files are made; the system's folder if not given")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
