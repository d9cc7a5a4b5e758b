"""A small tokenizer of one's own, in the form of SmolVLM2's: byte-level BPE, single digits, its special tokens."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from smolvla_ros.model.checkpoint.files import JsonObject

PAD_ID = 2
_FIRST = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")  # ids 0, 1, 2: unknown, begin, pad
_LAST = ("<global-img>", "<fake_token_around_image>", "<image>", "<end_of_utterance>")


def train_tokenizer(sentences: Iterable[str], vocab_size: int = 512) -> Tokenizer:
    """A tokenizer whose merges come from `sentences`; any other text is still encoded, byte by byte.

    `vocab_size` counts the 256 bytes, the merges and the first three special tokens; four more follow.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_FIRST),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.add_special_tokens(list(_LAST))
    return tokenizer


def train_word_tokenizer(words: Iterable[str], vocab_size: int = 1024) -> Tokenizer:
    """A tokenizer in which each of the (lower case) words is one token, wherever and however it is written.

    Text is read in lower case and without punctuation, every word with a space before it. Other words go byte by byte.
    """
    # A word that is repeated alone has its merges before those of longer texts use up the vocabulary.
    tokenizer = train_tokenizer((text for word in sorted(words) for text in [f" {word}"] * 50), vocab_size)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[^a-z0-9'\n]+"), " "),
            normalizers.Replace(Regex(" ?\n"), "\n"),
            normalizers.Strip(left=True, right=False),
            normalizers.Prepend(" "),
        ]
    )
    return tokenizer


def tokenizer_config(tokenizer: Tokenizer) -> JsonObject:
    """`tokenizer_config.json` for such a tokenizer, as transformers reads it."""
    # transformers makes a GPT2Tokenizer from vocabulary and merges alone and would leave out a normaliser.
    name = "GPT2Tokenizer" if tokenizer.normalizer is None else "PreTrainedTokenizerFast"
    return {
        "add_prefix_space": False,
        "additional_special_tokens": list(_LAST[1:]),
        "bos_token": _FIRST[1],
        "clean_up_tokenization_spaces": False,
        "end_of_utterance_token": _LAST[3],
        "eos_token": _LAST[3],
        "extra_special_tokens": {
            "end_of_utterance_token": _LAST[3],
            "fake_image_token": _LAST[1],
            "global_image_token": _LAST[0],
            "image_token": _LAST[2],
        },
        "fake_image_token": _LAST[1],
        "global_image_token": _LAST[0],
        "image_token": _LAST[2],
        "legacy": False,
        "model_max_length": 8192,
        "pad_token": _FIRST[2],
        "processor_class": "SmolVLMProcessor",
        "tokenizer_class": name,
        "truncation_side": "left",
        "unk_token": _FIRST[0],
    }
