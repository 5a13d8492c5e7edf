"""The tokens of a text model, read from the ``vocab.txt`` of its export: names, special ids, whole words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xgraph.errors import InputError

PathLike = str | os.PathLike[str]

FILE_NAME = "vocab.txt"
_PAD, _UNK, _MASK = ("[PAD]", "<pad>"), ("[UNK]", "<unk>"), ("[MASK]", "<mask>")
_SPECIAL = (*_PAD, *_UNK, *_MASK, "[CLS]", "[SEP]", "<s>", "</s>")
_CONTINUES = "##"
_BEGINS = ("▁", "Ġ")
"""What begins a word in vocabularies of SentencePiece and of byte pairs."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of a model, by id.

    Raises:
        InputError: There is none.
    """

    tokens: tuple[str, ...]
    """The text of each id."""
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """The ids of special tokens that are there."""
    _begins: str | None = field(init=False, repr=False, compare=False)
    """What begins a word; None: ``##`` continues one."""

    def __post_init__(self) -> None:
        if not self.tokens:
            raise InputError("a vocabulary needs at least one token")
        special = set(_SPECIAL)
        object.__setattr__(self, "tokens", tuple(self.tokens))
        object.__setattr__(self, "_ids", {token: i for i, token in enumerate(self.tokens) if token in special})
        # By their number: a vocabulary of byte pairs may hold "##" as a word, and one of word pieces "▁".
        counts = {mark: sum(token.startswith(mark) for token in self.tokens) for mark in (_CONTINUES, *_BEGINS)}
        mark = max(counts, key=counts.__getitem__)
        object.__setattr__(self, "_begins", None if mark == _CONTINUES else mark)

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def read(cls, path: PathLike) -> Vocabulary:
        """Reads a file of UTF-8 with one token per line; the line's number, from 0, is its id.

        A line may also be the token, a tabulator and its id, if all are.

        Raises:
            InputError: The file cannot be read, or is empty.
        """
        try:
            text = Path(path).read_bytes().decode("utf-8-sig")
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except OSError as error:
            raise InputError(f"{path}: cannot read it ({error.strerror or error})") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: byte {error.start} is not UTF-8; save the vocabulary as UTF-8") from error
        # Not splitlines, which breaks at the separators that are tokens of some vocabularies.
        lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        if lines == [""]:
            raise InputError(f"{path}: the vocabulary is empty; it should have one token per line")
        pairs = [line.rpartition("\t") for line in lines]
        if all(token and number == str(i) for i, (token, _, number) in enumerate(pairs)):
            lines = [token for token, _, _ in pairs]
        return cls(tuple(lines))

    @classmethod
    def beside(cls, model_files: PathLike | Iterable[PathLike]) -> Vocabulary | None:
        """Reads the first ``vocab.txt`` that lies next to the model files; None where there is none.

        Raises:
            InputError: There is one, and it cannot be read.
        """
        files = [model_files] if isinstance(model_files, str | os.PathLike) else list(model_files)
        for folder in dict.fromkeys(Path(file).parent for file in files):
            if (folder / FILE_NAME).is_file():
                return cls.read(folder / FILE_NAME)
        return None

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of padding and of the marks of beginning and end, ascending; those that are there.

        Unknown and mask tokens stand for words, so they are none.
        """
        return tuple(sorted(i for token, i in self._ids.items() if token not in (*_UNK, *_MASK)))

    @property
    def mask_id(self) -> int | None:
        """The id of ``[MASK]`` or ``<mask>``."""
        return self._first(_MASK)

    @property
    def unk_id(self) -> int | None:
        """The id of ``[UNK]`` or ``<unk>``."""
        return self._first(_UNK)

    @property
    def pad_id(self) -> int | None:
        """The id of ``[PAD]`` or ``<pad>``."""
        return self._first(_PAD)

    def text(self, ids: np.ndarray | Iterable[int]) -> list[str]:
        """Returns the token of each id, of whole numbers (T,).

        Raises:
            InputError: They are not whole numbers of one axis, or one is outside the vocabulary.
        """
        return [self.tokens[i] for i in self._checked(ids)]

    def words(self, ids: np.ndarray | Iterable[int]) -> np.ndarray:
        """Returns which word each token belongs to.

        A token that starts with ``##`` continues the word of the token before it. In a vocabulary that marks where
        words begin (``▁`` or ``Ġ``), one without the mark does. Neither continues a special token. In a vocabulary
        without marks each token is a word.

        Args:
            ids: whole numbers (T,).

        Returns:
            int32 (T,): 0, 1, 2 ... in the order of the text, -1 for special tokens.

        Raises:
            InputError: They are not whole numbers of one axis, or one is outside the vocabulary.
        """
        chosen = self._checked(ids)
        numbers = np.full(len(chosen), -1, np.int32)
        special, count, inside = set(self.special_ids), 0, False
        for position, i in enumerate(chosen):
            if i in special:
                inside = False
                continue
            if not (inside and self._continues(self.tokens[i])):
                count += 1
            numbers[position], inside = count - 1, True
        return numbers

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values by field name, for a bundle's manifest."""
        return {"tokens": list(self.tokens)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Vocabulary:
        """Reads what ``to_json`` wrote.

        Raises:
            InputError: It is something else.
        """
        tokens = document.get("tokens") if isinstance(document, Mapping) else None
        if not isinstance(tokens, list | tuple) or not all(isinstance(token, str) for token in tokens):
            raise InputError("the vocabulary is no list of tokens; write it with to_json")
        return cls(tuple(tokens))

    def _first(self, names: Iterable[str]) -> int | None:
        return next((self._ids[name] for name in names if name in self._ids), None)

    def _continues(self, token: str) -> bool:
        if token in (*_UNK, *_MASK):
            return False
        return token.startswith(_CONTINUES) if self._begins is None else not token.startswith(self._begins)

    def _checked(self, ids: np.ndarray | Iterable[int]) -> list[int]:
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise InputError(f"token ids are {array.dtype} of shape {list(array.shape)}; give whole numbers (T,)")
        bad = np.flatnonzero((array < 0) | (array >= len(self.tokens)))
        if len(bad):
            raise InputError(
                f"token id {array[bad[0]]} at position {bad[0]} is outside the vocabulary of {len(self.tokens)} tokens"
            )
        return [int(i) for i in array]
