"""Run inside the image: writes a small DistilBERT with random weights and the classes of SST-2."""

import string
import sys
from pathlib import Path

import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

target = Path(sys.argv[1])
letters = string.ascii_lowercase + string.digits + string.punctuation
vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
config = DistilBertConfig(
    vocab_size=len(vocabulary),
    dim=32,
    n_layers=2,
    n_heads=4,
    hidden_dim=64,
    max_position_embeddings=512,
    initializer_range=0.5,
    id2label={0: "NEGATIVE", 1: "POSITIVE"},
    label2id={"NEGATIVE": 0, "POSITIVE": 1},
)
torch.manual_seed(7)
DistilBertForSequenceClassification(config).save_pretrained(target)
(target / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
(target / "tokenizer_config.json").write_text('{"model_max_length": 512, "do_lower_case": true}')
