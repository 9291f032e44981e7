"""Convert a Whisper model of whisper.cpp (`ggml-*.bin`) to CTranslate2's format, without PyTorch.

The weights stay float16, as they are in the file: CTranslate2 makes float32, int8 and the mixed types
from them when it loads the model, and the result is the same as from float32, since that holds no more.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ctranslate2.specs import attention_spec, common_spec, transformer_spec, whisper_spec
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from converters.errors import ConversionError
from converters.ggml_file import Dimensions, GgmlModel, read_ggml
from converters.whisper_vocabulary import (
    CONTROL_TOKENS,
    FIXED_SPECIAL_TOKENS,
    LANGUAGES,
    START_OF_TRANSCRIPT,
    alignment_heads,
    byte_alphabet,
    merges,
    special_tokens,
)

FIRST_MULTILINGUAL_VOCABULARY = 51865
SAMPLE_RATE_HZ, CHUNK_S, FFT_SAMPLES, HOP_SAMPLES = 16_000, 30, 400, 160
NEVER_SPOKEN = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))", "[[", "]]", "{{", "}}"),
    *("♪♪", "♪♪♪"),
)
NOTES = "♩♪♫♬♭♮♯"


def convert(fetched: Path, model_dir: Path) -> None:
    """Convert the one `*.bin` file in `fetched` and write the model's folder `model_dir`.

    Raises:
        ConversionError: there is not exactly one, or it is not a Whisper model with plain weights.
    """
    files = sorted(fetched.glob("*.bin"))
    if len(files) != 1:
        names = ", ".join(f.name for f in files) or "none"
        raise ConversionError(f"{fetched.name} must hold one ggml file *.bin: found {names}; fetch just one")
    model = read_ggml(files[0])
    specials = special_tokens(_language_count(model))
    tokenizer = make_tokenizer(model.tokens, specials)
    spec = make_spec(model)
    _configure(spec, model.dimensions, tokenizer, specials)
    spec.register_vocabulary([tokenizer.id_to_token(i) for i in range(model.dimensions.vocabulary)])
    spec.validate()
    spec.optimize(quantization="float16")
    model_dir.mkdir(parents=True)
    spec.save(str(model_dir))
    tokenizer.save(str(model_dir / "tokenizer.json"))
    _write_preprocessor_config(model_dir, model.dimensions)


def make_tokenizer(tokens: tuple[bytes, ...], specials: tuple[str, ...]) -> Tokenizer:
    """A byte-level tokenizer whose ids are the ranks of `tokens`, followed by `specials`."""
    alphabet = byte_alphabet()

    def printable(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    vocabulary = {printable(token): rank for rank, token in enumerate(tokens)}
    pairs = [(printable(left), printable(right)) for left, right in merges(tokens)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    return tokenizer


def make_spec(model: GgmlModel) -> whisper_spec.WhisperSpec:
    """The network, with its weights filled in.

    Raises:
        ConversionError: a tensor is missing.
    """
    size = model.dimensions
    spec = whisper_spec.WhisperSpec(size.audio_layers, size.audio_heads, size.text_layers, size.text_heads)
    weights = _Weights(model)
    encoder, decoder = spec.encoder, spec.decoder
    weights.fill_linear(encoder.conv1, "encoder.conv1")
    weights.fill_linear(encoder.conv2, "encoder.conv2")
    encoder.position_encodings.encodings = weights["encoder.positional_embedding"]
    weights.fill_norm(encoder.layer_norm, "encoder.ln_post")
    for index, layer in enumerate(encoder.layer):
        weights.fill_block(layer, f"encoder.blocks.{index}")
    decoder.embeddings.weight = weights["decoder.token_embedding.weight"]
    decoder.projection.weight = decoder.embeddings.weight
    decoder.position_encodings.encodings = weights["decoder.positional_embedding"]
    weights.fill_norm(decoder.layer_norm, "decoder.ln")
    for index, layer in enumerate(decoder.layer):
        weights.fill_block(layer, f"decoder.blocks.{index}")
        weights.fill_cross_attention(layer.attention, f"decoder.blocks.{index}.cross_attn")
    return spec


class _Weights:
    """The tensors of the file by name, and how each kind of layer takes them."""

    def __init__(self, model: GgmlModel) -> None:
        self._tensors = model.tensors

    def __getitem__(self, name: str) -> npt.NDArray[np.floating]:
        if name not in self._tensors:
            raise ConversionError(f"a Whisper model must hold {name}: the file does not; fetch it again")
        return self._tensors[name]

    def fill_linear(self, layer: common_spec.LinearSpec, name: str) -> None:
        layer.weight = self[f"{name}.weight"]
        layer.bias = self[f"{name}.bias"].reshape(-1)

    def fill_norm(self, layer: common_spec.LayerNormSpec, name: str) -> None:
        layer.gamma = self[f"{name}.weight"].reshape(-1)
        layer.beta = self[f"{name}.bias"].reshape(-1)

    def fill_block(self, layer: transformer_spec.TransformerEncoderLayerSpec, name: str) -> None:
        attention, ffn = layer.self_attention, layer.ffn
        self._fill_projections(attention.linear[0], f"{name}.attn", ("query", "key", "value"))
        self.fill_linear(attention.linear[1], f"{name}.attn.out")
        self.fill_norm(attention.layer_norm, f"{name}.attn_ln")
        self.fill_linear(ffn.linear_0, f"{name}.mlp.0")
        self.fill_linear(ffn.linear_1, f"{name}.mlp.2")
        self.fill_norm(ffn.layer_norm, f"{name}.mlp_ln")

    def fill_cross_attention(self, attention: attention_spec.MultiHeadAttentionSpec, name: str) -> None:
        self._fill_projections(attention.linear[0], name, ("query",))
        self._fill_projections(attention.linear[1], name, ("key", "value"))
        self.fill_linear(attention.linear[2], f"{name}.out")
        self.fill_norm(attention.layer_norm, f"{name}_ln")

    def _fill_projections(self, layer: common_spec.LinearSpec, name: str, parts: tuple[str, ...]) -> None:
        # Whisper's key projection has no bias, CTranslate2's joint projection has one for all.
        no_bias = np.zeros_like(self[f"{name}.query.bias"]).reshape(-1)
        biases = [no_bias if part == "key" else self[f"{name}.{part}.bias"].reshape(-1) for part in parts]
        layer.weight = np.concatenate([self[f"{name}.{part}.weight"] for part in parts])
        layer.bias = np.concatenate(biases)


def _language_count(model: GgmlModel) -> int:
    size = model.dimensions.vocabulary
    # CTranslate2 takes a model for multilingual when its vocabulary holds the empty token, as all of them do.
    if (size >= FIRST_MULTILINGUAL_VOCABULARY) != (b"" in model.tokens):
        raise ConversionError(
            f"the empty token must be there exactly in a multilingual vocabulary, from {FIRST_MULTILINGUAL_VOCABULARY} "
            f"ids on: it is otherwise in this one of {size}; take a model of openai/whisper"
        )
    count = size - len(model.tokens) - FIXED_SPECIAL_TOKENS
    if not 0 < count <= len(LANGUAGES):
        raise ConversionError(
            f"a Whisper vocabulary leaves 1 to {len(LANGUAGES)} ids for languages: {size} ids and "
            f"{len(model.tokens)} byte-pair tokens leave {count}; take a model of openai/whisper"
        )
    return count


def _configure(
    spec: whisper_spec.WhisperSpec, size: Dimensions, tokenizer: Tokenizer, specials: tuple[str, ...]
) -> None:
    def ids(text: str) -> list[int]:
        encoded: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return encoded

    # As `Tokenizer.non_speech_tokens` in openai/whisper: tags and sound effects are not spoken. A hyphen
    # and an apostrophe may stand within a word, not at its start. A note may be several tokens, of which
    # the first belongs to notes and similar symbols only.
    silent = {ids(" -")[0], ids(" '")[0]}
    for symbol in (*NEVER_SPOKEN, *NOTES):
        for encoded in (ids(symbol), ids(f" {symbol}")):
            if len(encoded) == 1 or symbol in NOTES:
                silent.add(encoded[0])
    silent.update(tokenizer.token_to_id(text) for text in (START_OF_TRANSCRIPT, *CONTROL_TOKENS))
    spec.config.suppress_ids = sorted(silent)
    spec.config.suppress_ids_begin = [ids(" ")[0], tokenizer.token_to_id(specials[0])]
    spec.config.alignment_heads = alignment_heads(size.text_layers, size.text_heads, size.vocabulary)
    languages = [token for token in specials if token[2:-2] in LANGUAGES]
    multilingual = size.vocabulary >= FIRST_MULTILINGUAL_VOCABULARY
    spec.config.lang_ids = [tokenizer.token_to_id(token) for token in languages] if multilingual else []


def _write_preprocessor_config(model_dir: Path, size: Dimensions) -> None:
    config = {
        "chunk_length": CHUNK_S,
        "feature_size": size.mel_bands,
        "hop_length": HOP_SAMPLES,
        "n_fft": FFT_SAMPLES,
        "sampling_rate": SAMPLE_RATE_HZ,
    }
    (model_dir / "preprocessor_config.json").write_text(json.dumps(config, indent=1))
