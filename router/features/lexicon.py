"""Small word lists that say what a prompt asks for; counted as features, shown by name in an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from router.features.text import BUCKETS, buckets_of, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEXICON: Final[dict[str, str]] = {
    "maths": "sum product equation integral derivative matrix vector polynomial prime integer triangle circle angle "
    "probability theorem proof prove function root roots modulo divisible remainder frac sqrt cdot triangles sides "
    "area volume radius perimeter coordinates sequence arithmetic geometric logarithm",
    "everyday_numbers": "how many much total cost costs each per day days week weeks hours minutes dollars money price "
    "left sold bought pays twice half percent times more less than dozen miles pounds apples",
    "code": "def class return import function python javascript java sql code program string list array loop "
    "variable compile error exception api json html css assert print output input algorithm implement debug",
    "logic": "if then else either neither implies true false statement statements valid invalid conclusion premise "
    "argument houses house person different unique clue clues puzzle left right next",
    "science": "energy force mass velocity electron atom molecule reaction acid base temperature pressure gas current "
    "voltage circuit wavelength cell protein gene dna enzyme membrane planet star",
    "medicine": "patient disease treatment symptoms diagnosis blood pain infection clinical therapy drug dose "
    "syndrome muscle nerve artery",
    "law": "court law contract defendant plaintiff statute liable liability property tort negligence crime "
    "jurisdiction constitutional trial jury judge landlord",
    "society": "government war century empire economic market price political treaty president society culture "
    "psychology behavior moral ethics philosophy religion revolution",
    "writing": "write story essay poem letter email summarize summary rewrite translate blog article tone paragraph "
    "creative describe explain list generate",
    "reasoning": "why explain reason because therefore analyze compare evaluate justify consider assume suppose "
    "determine derive deduce following best most likely except not",
    "lookup": "who when where which what name capital year invented founded wrote born",
    "design": "design architecture system scale distributed database deploy server requirements plan strategy "
    "optimize tradeoffs performance security migration",
}
LEXICON_NAMES: Final = tuple(LEXICON)


def _class_of_bucket() -> NDArray[np.uint8]:
    """For each bucket of a word's hash the number of its list, 0 for none; a word in two lists keeps the first."""
    table = np.zeros(BUCKETS, dtype=np.uint8)
    for number, words in reversed(tuple(enumerate(LEXICON.values(), start=1))):
        hashes, _ = words_of(f" {words} ".encode())
        table[buckets_of(hashes)[: len(hashes)]] = number
    return table


_CLASS: Final = _class_of_bucket()


def lexicon_counts(word_buckets: NDArray[np.uint32]) -> NDArray[np.intp]:
    """How many words of each list occur, in the order of `LEXICON_NAMES`."""
    return np.bincount(_CLASS.take(word_buckets), minlength=len(LEXICON_NAMES) + 1)[1:]
