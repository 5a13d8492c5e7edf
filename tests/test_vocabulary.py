"""Vocabularies: files, special tokens, and which pieces are one word."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xgraph.errors import InputError
from xgraph.vocabulary import Vocabulary

REVIEWS = Path(__file__).parent.parent / "xgraph" / "data" / "reviews_bert"
PIECES = Vocabulary(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##s", "the", "▁", "##"))
SENTENCE = Vocabulary(("<s>", "<pad>", "</s>", "<unk>", "▁play", "ing", "▁the", ",", "<mask>", "▁"))
BYTES = Vocabulary(("<s>", "<pad>", "</s>", "<unk>", "play", "ing", "Ġthe", "Ġplay", "##", "<mask>"))
PLAIN = Vocabulary(("a", "b", "c"))


def test_the_vocabulary_of_the_reviews() -> None:
    words = Vocabulary.read(REVIEWS / "vocab.txt")
    assert words.tokens[:7] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", ".")
    assert len(words) == len((REVIEWS / "vocab.txt").read_text().split())
    assert words.special_ids == (0, 2, 3)
    assert (words.pad_id, words.unk_id, words.mask_id) == (0, 1, 4)


def test_beside(tmp_path: Path) -> None:
    found = Vocabulary.beside(REVIEWS / "reviews_bert.onnx")
    assert found == Vocabulary.read(REVIEWS / "vocab.txt")
    assert found == Vocabulary.beside([tmp_path / "a.onnx", REVIEWS / "reviews_bert.onnx"])
    assert Vocabulary.beside(tmp_path / "a.onnx") is None
    (tmp_path / "vocab.txt").write_text("x\ny\n")
    assert Vocabulary.beside([tmp_path / "a.onnx", REVIEWS / "reviews_bert.onnx"]) == Vocabulary(("x", "y"))


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("a\nb\n", ("a", "b")),
        ("a\nb", ("a", "b")),
        ("a\r\nb\r\n", ("a", "b")),
        ("a\n\nb\n", ("a", "", "b")),
        ("\ufeffa\nb\n", ("a", "b")),
        ("a\n\u2028\n\x85\n \nb\n", ("a", "\u2028", "\x85", " ", "b")),
        ("[PAD]\t0\nb\t1\n", ("[PAD]", "b")),
        ("a\t0\nb\t2\n", ("a\t0", "b\t2")),
        ("\n\n", ("", "")),
    ],
)
def test_one_token_per_line(content: str, tokens: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content.encode())
    assert Vocabulary.read(path).tokens == tokens


@pytest.mark.parametrize(
    ("vocabulary", "special", "pad", "unk", "mask"),
    [(PIECES, (0, 2, 3), 0, 1, 4), (SENTENCE, (0, 1, 2), 1, 3, 8), (PLAIN, (), None, None, None)],
    ids=["pieces", "sentence", "plain"],
)
def test_special_tokens(
    vocabulary: Vocabulary, special: tuple[int, ...], pad: int | None, unk: int | None, mask: int | None
) -> None:
    assert vocabulary.special_ids == special
    assert (vocabulary.pad_id, vocabulary.unk_id, vocabulary.mask_id) == (pad, unk, mask)


@pytest.mark.parametrize(
    ("vocabulary", "text", "expected"),
    [
        (PIECES, "[CLS] play ##ing ##s the play [SEP] [PAD]", [-1, 0, 0, 0, 1, 2, -1, -1]),
        (PIECES, "##s [UNK] ##ing ▁ the", [0, 1, 1, 2, 3]),
        (SENTENCE, "<s> ▁play ing ▁the , ▁ ing </s>", [-1, 0, 0, 1, 1, 2, 2, -1]),
        (SENTENCE, "ing ing <mask> ing ▁the", [0, 0, 1, 1, 2]),
        (BYTES, "<s> play ing Ġthe Ġplay ing ##", [-1, 0, 0, 1, 2, 2, 2]),
        (PLAIN, "a b a", [0, 1, 2]),
        (PLAIN, "", []),
    ],
)
def test_words(vocabulary: Vocabulary, text: str, expected: list[int]) -> None:
    ids = np.array([vocabulary.tokens.index(token) for token in text.split()], np.int64)
    found = vocabulary.words(ids)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert vocabulary.text(ids) == text.split()


def test_json_and_pickle() -> None:
    document = json.loads(json.dumps(SENTENCE.to_json()))
    again = Vocabulary.from_json(document)
    assert again == SENTENCE
    assert hash(again) == hash(SENTENCE)
    restored = pickle.loads(pickle.dumps(SENTENCE))
    assert restored == SENTENCE
    assert restored.special_ids == SENTENCE.special_ids


@pytest.mark.parametrize("document", [{}, {"tokens": "abc"}, {"tokens": [1]}, {"tokens": []}, [], None])
def test_json_that_is_refused(document: Any) -> None:
    with pytest.raises(InputError, match="vocabulary"):
        Vocabulary.from_json(document)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"a\n\xff\xfe\n", "byte 2 is not UTF-8"), (None, "no such file")],
)
def test_files_that_are_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        Vocabulary.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read it"):
        Vocabulary.read(tmp_path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 3], "token id 3 at position 1 is outside the vocabulary of 3 tokens"),
        ([-1], "token id -1 at position 0"),
        (np.array([[0]]), r"of shape \[1, 1\]; give whole numbers"),
        (np.array([0.0]), "token ids are float64"),
    ],
)
def test_ids_that_are_refused(ids: Any, message: str) -> None:
    for read in (PLAIN.text, PLAIN.words):
        with pytest.raises(InputError, match=message):
            read(ids)
