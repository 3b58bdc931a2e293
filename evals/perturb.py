"""Changes of a prompt that no answer depends on: what a decision should survive, and what training adds copies of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.features import PromptView

TYPO_SHARE: Final = 0.03
_BEFORE: Final = (b"Hello! ", b"Could you please help me with this? ", b"Hi there, a question for you:\n")
_AFTER: Final = (b" Thank you!", b"\nThanks in advance.", b"\nPlease answer as well as you can, thank you.")


def lower_case(text: bytes, _: np.random.Generator) -> bytes:
    """All ASCII letters small, as people type in a hurry."""
    return text.lower()


def upper_case(text: bytes, _: np.random.Generator) -> bytes:
    """All ASCII letters capital."""
    return text.upper()


def white_space(text: bytes, rng: np.random.Generator) -> bytes:
    """Some spaces doubled, lines ended with a space, the end padded."""
    parts = text.split(b" ")
    wide = rng.random(len(parts)) < 0.1
    joined = b"".join(part + (b"  " if is_wide else b" ") for part, is_wide in zip(parts, wide, strict=True))
    return b"\n" + joined.rstrip(b" ").replace(b"\n", b" \n") + b"\n\n"


def politeness(text: bytes, rng: np.random.Generator) -> bytes:
    """A greeting before, thanks after."""
    return _BEFORE[int(rng.integers(len(_BEFORE)))] + text + _AFTER[int(rng.integers(len(_AFTER)))]


def typos(text: bytes, rng: np.random.Generator) -> bytes:
    """Neighbouring letters inside about three words of a hundred swapped."""
    written = bytearray(text)
    letters = np.frombuffer(text, dtype=np.uint8)
    is_letter = ((letters | 0x20) >= ord("a")) & ((letters | 0x20) <= ord("z"))
    inner = np.flatnonzero(is_letter[:-1] & is_letter[1:]) if len(text) > 1 else np.empty(0, dtype=np.intp)
    # Words have about five letters, so a share of words is a fifth of it among the letters.
    for at in inner[rng.random(len(inner)) < TYPO_SHARE / 5]:
        written[at], written[at + 1] = written[at + 1], written[at]
    return bytes(written)


PERTURBATIONS: Final[dict[str, Callable[[bytes, np.random.Generator], bytes]]] = {
    "lower case": lower_case,
    "upper case": upper_case,
    "white space": white_space,
    "politeness": politeness,
    "typos": typos,
}


def perturbed(view: PromptView, name: str, *, seed: int) -> PromptView:
    """The view with its question changed in the named way, the same for a seed everywhere."""
    rng = np.random.default_rng([seed, len(view.question)])
    return replace(view, question=PERTURBATIONS[name](view.question, rng))
