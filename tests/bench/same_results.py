"""Whether two folders of results hold the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stage_contract.outputs import TRANSCRIPT_FILE, Transcript
from stage_contract.result import read_result
from stage_contract.vocabulary import Stage

MOST_DIFFERENT = 0.05
"""Share of transcripts that may differ. Where Whisper is unsure, as of clips that end within a word, it draws from what
is likely; the draws are the same for the same shard, and the two sides deal their clips differently."""

Key = tuple[str, str, str]
"""Asset id, stage, fingerprint."""


@dataclass(frozen=True)
class Results:
    """Complete results, and by asset the words spoken."""

    keys: frozenset[Key]
    transcripts: Mapping[str, str]


@dataclass(frozen=True)
class ResultAgreement:
    """`results` and `transcripts` count those of the first side."""

    results: int
    only_first: int
    only_second: int
    transcripts: int
    transcripts_differ: int

    @property
    def holds(self) -> bool:
        """Whether nothing is missing, and no more transcripts differ than may."""
        is_complete = not (self.only_first or self.only_second)
        return is_complete and self.transcripts_differ <= MOST_DIFFERENT * self.transcripts


def read_results(folders: Iterable[Path]) -> Results:
    """All complete results below result folders."""
    keys, transcripts = set(), {}
    for folder in folders:
        for directory in folder.glob("assets/*/*/[!.]*"):
            if read_result(directory) is None:
                continue
            asset_id, stage, name = directory.parts[-3:]
            keys.add((asset_id, stage, name))
            if stage == Stage.TRANSCRIBE:
                transcripts[asset_id] = _words(directory / TRANSCRIPT_FILE)
    return Results(frozenset(keys), transcripts)


def agreement(first: Results, second: Results) -> ResultAgreement:
    """How far two sides have the same results under the same fingerprints."""
    differ = [
        asset_id for asset_id, text in first.transcripts.items() if second.transcripts.get(asset_id, text) != text
    ]
    return ResultAgreement(
        results=len(first.keys),
        only_first=len(first.keys - second.keys),
        only_second=len(second.keys - first.keys),
        transcripts=len(first.transcripts),
        transcripts_differ=len(differ),
    )


def _words(path: Path) -> str:
    transcript = Transcript.model_validate_json(path.read_bytes())
    return " ".join(segment.text.strip() for segment in transcript.segments)
