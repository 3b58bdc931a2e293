"""What no code foresaw in a vendor's answer: in the bill a failure of the vendor's, in the log a defect of ours."""

from __future__ import annotations

import logging
import traceback
from pathlib import PurePath

from router.errors import ProviderError

log = logging.getLogger("tollgate")

FRAMES_MAX = 12


def unforeseen(answering: str, error: Exception) -> ProviderError:
    """The error of an attempt that ended in an exception of the code's own: the vendor may have billed it.

    The log gets the exception's type and places: its text could hold an answer.
    """
    frames = [
        f"{PurePath(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    fields = {"answering": answering, "error_type": type(error).__name__, "frames": frames[-FRAMES_MAX:]}
    log.error("answer not understood", extra={"fields": fields})
    return ProviderError(f"{answering} answered something that Tollgate cannot read", is_billed=True)
