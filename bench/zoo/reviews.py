"""The *reviews* data: seeded sentences whose evidence is known to the word.

Every sentence comes from a small grammar and is positive or negative by the last word of its deciding clause that
carries sentiment, flipped if that clause negates it:

    honestly , the plot was never really boring           positive, by "never" and "boring"
    the cast was superb , but i did not enjoy the songs   negative, by "not" and "enjoy"

What does not decide is there to mislead: a concession ("... , but", "although ... ,") of the opposite sentiment,
negated or not, and clauses without sentiment ("i did not watch it at home"). Sentiment words and negations
therefore tell the label only together, and only in the right clause.

    from reviews import LABELS, VOCABULARY, decode, encode, make
    ids, mask, labels, evidence = make(seed=1, count=1000)
    ids, mask = encode("the plot was not boring")

Each sample draws from a random stream of its own, so sample `i` of a seed is the same whatever the count. The words
leave room for many millions of sentences, yet short ones may occur under several seeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

LABELS = "negative", "positive"
LENGTH = 24
"""Length of `make`'s sequences: [CLS], at most 22 words, [SEP] and padding."""

SPECIAL = PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"

# Sentiment, as (negative, positive); verbs in the plain form of "did not ..." and in the past.
_ADJECTIVES = (
    "awful boring clumsy dreadful dull bland forgettable horrible lazy messy painful poor sloppy terrible tedious weak",
    "amazing beautiful brilliant charming clever delightful excellent fantastic funny gripping lovely moving superb "
    "touching wonderful witty",
)
_NOUNS = "bore disaster disappointment failure mess", "delight gem joy masterpiece triumph"
_VERBS = (
    "dislike:disliked hate:hated loathe:loathed regret:regretted resent:resented",
    "admire:admired adore:adored enjoy:enjoyed like:liked love:loved",
)
# Everything else carries none.
_SUBJECTS = (
    "acting book camera cast dialogue ending film hero humour movie music opening play plot pace scenery script "
    "series show singer song story style title villain"
)
_DEGREES = "really truly quite simply rather so very"
_MANNERS = "really truly quite simply"  # degrees that verbs take
_COPULAS = "was felt seemed looked"
_NEGATIONS = "never hardly"  # besides "not", which needs its auxiliary
_OPENERS = "honestly ,|overall ,|to be fair ,|in my view ,|for once ,|as a whole ,|at first sight ,"
_PEOPLE = "i|we|my brother|my sister|our friends|the critics"
_NEUTRAL = (
    "{people} saw it {when}|{people} did not watch it {when}|{people} never read the book|{people} bought the tickets|"
    "the {subject} was made in {place}|the {subject} was not made in {place}|the {subject} is by a writer from {place}|"
    "it lasted {hours} hours|it never came to {place}|{people} watched it in {place}|they did not change the {subject}"
)
_WHEN = "last night|on monday|on sunday|at home|with friends|in the morning|on a plane"
_PLACES = "london|paris|rome|tokyo|berlin"
_HOURS = "two|three|four"

_SENTIMENT = tuple(
    " ".join([adjectives, nouns, verbs.replace(":", " ")]).split()
    for adjectives, nouns, verbs in zip(_ADJECTIVES, _NOUNS, _VERBS, strict=True)
)
SENTIMENT = frozenset(word for words in _SENTIMENT for word in words)
"""The words that carry sentiment, of either sign."""

_TOKEN = re.compile(r"\[[A-Z]+\]|[A-Za-z']+|[^\sA-Za-z']")


def _vocabulary() -> tuple[str, ...]:
    """Collect every word of the grammar behind the special tokens."""
    plain = [_SUBJECTS, _DEGREES, _COPULAS, _NEGATIONS, _OPENERS, _PEOPLE, _NEUTRAL, _WHEN, _PLACES, _HOURS]
    glue = "the was a not did it this but although . ,"
    words = set(re.sub(r"\{\w+\}|\|", " ", " ".join([*plain, glue])).split()) | SENTIMENT
    return (*SPECIAL, *sorted(words))


VOCABULARY = _vocabulary()
"""All tokens; a token's index is its id."""

IDS = {word: i for i, word in enumerate(VOCABULARY)}


def make(seed: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Generate samples.

    Args:
        seed: Which data set.
        count: How many samples; the first ones do not depend on it.

    Returns:
        Token ids as int64 `(N, 24)`, the mask (1 at tokens, 0 at padding) as int64 `(N, 24)`, labels as int64 `(N,)`
        that index `LABELS`, and the deciding words, i.e. the sentiment and its negation, as bool `(N, 24)`.
    """
    ids = np.zeros((count, LENGTH), np.int64)
    mask = np.zeros((count, LENGTH), np.int64)
    labels = np.empty(count, np.int64)
    evidence = np.zeros((count, LENGTH), np.bool_)
    for i in range(count):
        words, decisive, labels[i] = _sentence(_Draw(seed, i))
        ids[i], mask[i] = _fill([IDS[word] for word in words], LENGTH)
        evidence[i, 1 : 1 + len(words)] = decisive
    return ids, mask, labels, evidence


def encode(text: str, length: int = LENGTH) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids and the mask of a sentence, each `(length,)`; words past the length are cut off.

    Unknown words become [UNK]; special tokens, such as [MASK], may be given by name.
    """
    found = (word if word in SPECIAL else word.lower() for word in _TOKEN.findall(text))
    return _fill([IDS.get(word, IDS[UNK]) for word in found], length)


def decode(ids: Iterable[int]) -> str:
    """Return the sentence of a row of ids, without [PAD], [CLS] and [SEP]."""
    return " ".join(word for word in (VOCABULARY[i] for i in ids) if word not in (PAD, CLS, SEP))


def _fill(words: Sequence[int], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Wrap words into [CLS] and [SEP], and pad them."""
    row = [IDS[CLS], *words[: length - 2], IDS[SEP]]
    pad = length - len(row)
    return np.array(row + [IDS[PAD]] * pad), np.array([1] * len(row) + [0] * pad)


class _Draw:
    """Random choices for one sample."""

    def __init__(self, seed: int, sample: int) -> None:
        # The counter's highest word is the sample, so that no two streams meet.
        self._stream = np.random.Generator(np.random.Philox(key=seed, counter=sample << 192))

    def chance(self, probability: float) -> bool:
        return bool(self._stream.random() < probability)

    def word(self, choices: str) -> str:
        """Pick one of several words, or one of several phrases between bars."""
        options = choices.split("|") if "|" in choices else choices.split()
        return options[int(self._stream.integers(len(options)))]


Clause = tuple[list[str], list[bool]]
"""Words, and which of them decide."""


def _sentence(draw: _Draw) -> tuple[list[str], list[bool], int]:
    """Return words, which of them decide, and the label."""
    while True:
        label = int(draw.chance(0.5))
        words, decisive = _opinion(draw, label)
        shape = draw.word("plain plain but but although")
        if shape != "plain":
            concession = _opinion(draw, 1 - label)[0]
            if shape == "but":
                before = [*concession, ",", "but"]
            else:
                before = ["although", *concession, ","]
            words, decisive = [*before, *words], [False] * len(before) + decisive
        if draw.chance(0.4 if shape == "plain" else 0.1):
            neutral = [*_neutral(draw), draw.word(", .")]
            words, decisive = [*neutral, *words], [False] * len(neutral) + decisive
        if draw.chance(0.3):
            opener = draw.word(_OPENERS).split()
            words, decisive = [*opener, *words], [False] * len(opener) + decisive
        if draw.chance(0.4 if shape == "plain" else 0.2):
            neutral = [draw.word(". ,"), *_neutral(draw)]
            words, decisive = [*words, *neutral], decisive + [False] * len(neutral)
        if draw.chance(0.5):
            words, decisive = [*words, "."], [*decisive, False]
        if len(words) <= LENGTH - 2:  # else draw anew
            return words, decisive, label


def _opinion(draw: _Draw, label: int) -> Clause:
    """Return a clause of the given sentiment, and which of its words make it so."""
    negated = draw.chance(0.45)
    sign = 1 - label if negated else label
    kind = draw.word("adjective adjective verb noun")
    degree = [draw.word(_MANNERS if kind == "verb" else _DEGREES)] if draw.chance(0.4) else []
    subject = draw.word(_SUBJECTS)
    parts: list[tuple[list[str], bool]]  # words, and whether they decide
    negation = draw.word(f"not not {_NEGATIONS}")
    if kind == "verb":
        plain, past = draw.word(_VERBS[sign]).split(":")
        person = draw.word(_PEOPLE).split()
        if negated and negation == "not":
            parts = [(["did"], False), (["not"], True), (degree, False), ([plain], True)]
        else:
            parts = [([negation] if negated else [], True), (degree, False), ([past], True)]
        parts = [(person, False), *parts, (["the", subject], False)]
    else:
        start = draw.word(f"the {subject}|this {subject}|it") if kind == "adjective" else f"the {subject}"
        copula = draw.word(_COPULAS) if kind == "adjective" and not negated else "was"
        word = [draw.word((_ADJECTIVES if kind == "adjective" else _NOUNS)[sign])]
        between = degree if kind == "adjective" else ["a"]
        parts = [
            (start.split(), False),
            ([copula], False),
            ([negation] if negated else [], True),
            (between, False),
            (word, True),
        ]
    words = [word for part, _ in parts for word in part]
    return words, [decides for part, decides in parts for _ in part]


def _neutral(draw: _Draw) -> list[str]:
    """Return a clause without sentiment."""
    return (
        draw.word(_NEUTRAL)
        .format(
            people=draw.word(_PEOPLE),
            when=draw.word(_WHEN),
            subject=draw.word(_SUBJECTS),
            place=draw.word(_PLACES),
            hours=draw.word(_HOURS),
        )
        .split()
    )
