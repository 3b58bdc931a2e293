"""What a prompt looks like to the quality model: numbers that are cheap, bounded and the same on every machine.

`PromptView` says what scoring may look at, `features_of` turns it into numbers. The stated treatment:

- Several turns: the newest user turn is scored. When it is a short follow-up ("ok continue"), the text that is scored
  is the conversation before it, so that it inherits the conversation's difficulty instead of looking easy.
- System prompts, tools, images, response schemas: counted, named in the receipt, and lowering support (the outcomes
  hold none), never guessed to be easy.
- Length: at most `READ_BYTES_MAX` bytes of the newest turn are read, by the rule in `router.features.text`.
- Any bytes: invalid UTF-8, lone surrogates and NUL are bytes like others.
"""

from __future__ import annotations

from router.features.structure import FEATURE_NAMES, NETWORK_FEATURE_COUNT, Features, features_of
from router.features.text import BUCKETS, READ_BYTES_MAX
from router.features.view import PromptView

__all__ = [
    "BUCKETS",
    "FEATURE_NAMES",
    "NETWORK_FEATURE_COUNT",
    "READ_BYTES_MAX",
    "Features",
    "PromptView",
    "features_of",
]
