"""One name for all spellings of one model."""

from __future__ import annotations

import re
from typing import Final

_NOISE: Final = re.compile(r"(instruct|turbo|versatile|fp8|inst|meta|hf|chat|latest|preview|\d{8}|[-_.: ])")


def ability_key(name: str) -> str:
    """A model's name without host, date and the words that name a packaging: what every host's spelling shares."""
    return _NOISE.sub("", name.rsplit("/", 1)[-1].lower())
