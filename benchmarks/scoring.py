"""How long features and quality model take, alone in a process: ``python -m benchmarks.scoring`` prints JSON.

The prompts are words of this project's own documents in an order drawn by a fixed seed, four bytes a token. What is
timed is all that happens between a parsed request and the predicted losses of three models, the encoding of its text
included. A figure is the median of a block of repeats: whoever else runs on the core spoils a block, not a figure.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from pathlib import Path
from random import Random

import orjson

from router.features import features_of
from router.prompt import prompt_view_of, sizes_of
from router.quality import load_quality_model
from router.server.openai_parse import parse_chat

REPO = Path(__file__).resolve().parent.parent
SIZES_TOKENS = (200, 2_000, 40_000)
BYTES_PER_TOKEN = 4
MODELS = (
    "anthropic/claude-opus-5-5",
    "anthropic/claude-haiku-5-5",
    "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
)
BLOCKS, REPEATS, WARM_UPS = 20, 30, 50
SEED = 11


def prompt_of(tokens: int) -> str:
    """Text of about so many tokens, never the same run of words twice."""
    pages = sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")])
    words = re.findall(r"\S+", " ".join(page.read_text(encoding="utf-8") for page in pages))
    draw = Random(SEED)
    kept, size = [], 0
    while size < tokens * BYTES_PER_TOKEN:
        word = draw.choice(words)
        kept.append(word)
        size += len(word) + 1
    return " ".join(kept)


def scoring_us(tokens: int) -> list[float]:
    """Microseconds: the median of each block."""
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt_of(tokens)}]}
    request = parse_chat(body, len(orjson.dumps(body)))
    quality = load_quality_model(None)

    def once_us() -> float:
        started_ns = time.perf_counter_ns()
        features = features_of(prompt_view_of(request, sizes_of(request)))
        quality.predicted_loss(quality.score(features, MODELS), 0)
        return (time.perf_counter_ns() - started_ns) / 1000

    for _ in range(WARM_UPS):
        once_us()
    return [statistics.median(once_us() for _ in range(REPEATS)) for _ in range(BLOCKS)]


if __name__ == "__main__":
    timed = {str(tokens): scoring_us(tokens) for tokens in SIZES_TOKENS}
    sys.stdout.write(orjson.dumps(timed).decode())
