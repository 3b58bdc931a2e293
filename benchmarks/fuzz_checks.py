"""What a response to any request must be: never a 5xx of ours, errors in shape, nothing of the caller's in one.

Pure: bytes in, findings out.
"""

from __future__ import annotations

import json
from typing import Any

PROMPT_CANARY = "canary-prompt-5d1f"
KEY_CANARY = "sk-canary-key-83ac"
LEAKS = (PROMPT_CANARY, KEY_CANARY, "Traceback (most recent", 'File "/')
FIELDS = {"message", "type", "param", "code"}
ERROR_FROM, SERVER_FROM = 400, 500


def problems_of(
    method: str, status: int, content_type: str, body: bytes, *, is_whole: bool = True
) -> tuple[list[str], str]:
    """What is wrong with a response, and the error's code (``ok`` without one, ``stream error CODE`` within one).

    A stream of which only the beginning was read (not ``is_whole``) need not have an end.
    """
    text = body.decode("utf-8", "replace")
    if status < ERROR_FROM:
        if not content_type.startswith("text/event-stream"):
            return [], "ok"
        return _stream_problems(text, is_whole=is_whole)
    found = [f"leaks {leak!r}" for leak in LEAKS if leak in text]
    if status >= SERVER_FROM:
        found.append(f"status {status}")
    if method == "HEAD":
        return found, "no body"
    if content_type.split(";", maxsplit=1)[0] != "application/json":
        return [*found, f"content type {content_type!r}"], "none"
    wrong, code = _error_problems(text)
    return found + wrong, code


def _error_problems(text: str) -> tuple[list[str], str]:
    try:
        error: Any = json.loads(text)["error"]
        code = error["code"]
    except (ValueError, KeyError, TypeError):
        return ["not an error in OpenAI's shape"], "none"
    found = []
    if not set(error) >= FIELDS:
        found.append(f"lacks {sorted(FIELDS - set(error))}")
    if not isinstance(code, str) or not code:
        found.append(f"code {code!r} is no text")
    if not isinstance(error.get("message"), str) or not isinstance(error.get("type"), str):
        found.append("message or type is no text")
    if error.get("param") is not None and not isinstance(error["param"], str):
        found.append("param is no text")
    return found, str(code)


def _stream_problems(text: str, *, is_whole: bool) -> tuple[list[str], str]:
    """A stream that begins well may still end in an error, which must be a vendor's doing; none is ordered here."""
    for line in text.splitlines():
        if line.startswith('data: {"error"'):
            wrong, code = _error_problems(line.removeprefix("data: "))
            leaks = [f"leaks {leak!r}" for leak in LEAKS if leak in line]
            return [*wrong, *leaks, f"stream ended in {code}"], f"stream error {code}"
    return (["stream without an end"] if is_whole and "data: [DONE]" not in text else []), "ok"
