"""The vocabulary of Whisper: byte-pair tokens, then special tokens, in the order that the weights expect.

The order of the special tokens, the languages and the heads that attend in time with the speech are
those of https://github.com/openai/whisper (`tokenizer.py`, `__init__.py` at v20250625, MIT).
"""

from itertools import pairwise, product

# Token order. English-only and older multilingual models know the first 99, large-v3 all.
LANGUAGES = (
    *("en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it", "id", "hi", "fi"),
    *("vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur", "hr", "bg", "lt", "la", "mi", "ml"),
    *("cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn", "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs"),
    *("kk", "sq", "sw", "gl", "mr", "pa", "si", "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu", "am"),
    *(
        "yi",
        "lo",
        "uz",
        "fo",
        "ht",
        "ps",
        "tk",
        "nn",
        "mt",
        "sa",
        "lb",
        "my",
        "bo",
        "tl",
        "mg",
        "as",
        "tt",
        "haw",
        "ln",
    ),
    *("ha", "ba", "jw", "su", "yue"),
)
CONTROL_TOKENS = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>")
NO_TIMESTAMPS = "<|notimestamps|>"
END_OF_TEXT, START_OF_TRANSCRIPT = "<|endoftext|>", "<|startoftranscript|>"
TIMESTAMPS = tuple(f"<|{i * 0.02:.2f}|>" for i in range(1501))
FIXED_SPECIAL_TOKENS = len((END_OF_TEXT, START_OF_TRANSCRIPT, *CONTROL_TOKENS, NO_TIMESTAMPS, *TIMESTAMPS))

# (decoder layer, head) pairs of the released models, by text layers, text heads and vocabulary size.
ALIGNMENT_HEADS: dict[tuple[int, int, int], tuple[tuple[int, int], ...]] = {
    (4, 6, 51864): ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    (4, 6, 51865): ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)),
    (6, 8, 51864): ((3, 3), (4, 7), (5, 1), (5, 5), (5, 7)),
    (6, 8, 51865): ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
    (12, 12, 51865): ((5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9), (10, 5)),
    (24, 16, 51865): ((13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)),
    (4, 20, 51866): ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
    (32, 20, 51866): (
        *((7, 0), (10, 17), (12, 18), (13, 12), (16, 1)),
        *((17, 14), (19, 11), (21, 4), (24, 1), (25, 6)),
    ),
    (12, 12, 51864): (
        *((6, 6), (7, 0), (7, 3), (7, 8), (8, 2), (8, 5), (8, 7), (9, 0), (9, 4), (9, 8)),
        *((9, 10), (10, 0), (10, 1), (10, 2), (10, 3), (10, 6), (10, 11), (11, 2), (11, 4)),
    ),
    (24, 16, 51864): (
        *((11, 4), (14, 1), (14, 12), (14, 14), (15, 4), (16, 0), (16, 4), (16, 9), (17, 12)),
        *((17, 14), (18, 7), (18, 10), (18, 15), (20, 0), (20, 3), (20, 9), (20, 14), (21, 12)),
    ),
}


def special_tokens(language_count: int) -> tuple[str, ...]:
    """The special tokens in the order of their ids, which follow those of the byte-pair tokens."""
    languages = tuple(f"<|{code}|>" for code in LANGUAGES[:language_count])
    return (END_OF_TEXT, START_OF_TRANSCRIPT, *languages, *CONTROL_TOKENS, NO_TIMESTAMPS, *TIMESTAMPS)


def alignment_heads(layers: int, heads: int, vocabulary_size: int) -> tuple[tuple[int, int], ...]:
    """(layer, head) pairs for word times; for an unknown model all of the later half, as OpenAI's code does."""
    everything = tuple(product(range(layers // 2, layers), range(heads)))
    return ALIGNMENT_HEADS.get((layers, heads, vocabulary_size), everything)


def byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: itself where it prints, else a code point from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def merges(tokens: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    """The two parts that each token of more than one byte is made of, in rank order.

    Tokens stand in the order in which byte-pair encoding made them, so encoding a token with only
    its predecessors ends in its two parts.

    Raises:
        ValueError: a token is not made of two earlier ones.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return [_parts(token, rank, ranks) for token, rank in ranks.items() if len(token) > 1]


def _parts(token: bytes, limit: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        candidates = ((ranks.get(a + b, limit), i) for i, (a, b) in enumerate(pairwise(parts)))
        rank, i = min(candidates)
        if rank >= limit:
            raise ValueError(f"a token must be made of two earlier ones: {token!r} of rank {limit} is not")
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0], parts[1]
