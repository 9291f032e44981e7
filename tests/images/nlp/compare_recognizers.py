"""Runs in the nlp image: what the stage's recognizer finds, and what whole and wrong pipelines find. Prints JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import spacy
from spacy.lang.en.examples import sentences
from spacy.tokenizer import Tokenizer
from spacy.training import Example

from nlp_stage.engines import COMPONENTS_NOT_NEEDED, load_recognizer

MODEL = Path("/opt/models/ner")
LISTENER = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96, "upstream": "tok2vec"}
UPDATES = 30


def found(pipeline: Any, texts: list[str]) -> list[list[tuple[int, int, str]]]:
    """By text: begin, end and label of each entity."""
    return [[(one.start_char, one.end_char, one.label_) for one in doc.ents] for doc in pipeline.pipe(texts)]


def without_rules(path: Path) -> Any:
    """The stage's recognizer, had its tokenizer stayed blank."""
    pipeline: Any = load_recognizer(path)
    pipeline.tokenizer = Tokenizer(pipeline.vocab)
    return pipeline


def deaf(path: Path, texts: list[str]) -> object:
    """What is found without the component that `ner` listens to, or how that fails."""
    try:
        return found(spacy.load(path, exclude=[*COMPONENTS_NOT_NEEDED, "tok2vec"]), texts)
    except Exception as error:
        return type(error).__name__


def make_listening_model(path: Path, texts: list[str]) -> None:
    """A pipeline whose `ner` listens to its `tok2vec`, taught to find the first word."""
    pipeline = spacy.blank("en")
    pipeline.add_pipe("tok2vec")
    pipeline.add_pipe("ner", config={"model": {"tok2vec": LISTENER}})
    examples = []
    for text in texts:
        doc = pipeline.make_doc(text)
        examples.append(Example.from_dict(doc, {"entities": [(0, len(doc[0]), "FIRST")]}))
    pipeline.initialize(lambda: examples)
    for _ in range(UPDATES):
        pipeline.update(examples)
    pipeline.to_disk(path)


if __name__ == "__main__":
    told = Path(sys.argv[1]).read_text().split("\n\n") + list(sentences)
    listening = Path("/tmp/listening")
    make_listening_model(listening, told[:8])
    print(
        json.dumps(
            {
                "whole": found(spacy.load(MODEL), told),
                "ours": found(load_recognizer(MODEL), told),
                "without the model's rules": found(without_rules(MODEL), told),
                "listening, whole": found(spacy.load(listening), told),
                "listening, ours": found(load_recognizer(listening), told),
                "listening, deaf": deaf(listening, told),
            }
        )
    )
