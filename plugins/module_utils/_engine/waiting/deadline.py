# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deadline for all that a call waits for, and the slice of it that one run of the module may use."""

from __future__ import annotations

import time
from typing import Any


class StillWaiting(Exception):
    """The slice is over, the deadline is not. `text` says what is waited for."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Deadline:
    """Seconds from now less what earlier slices used, on the monotonic clock.

    progress  {seconds: length of a slice, elapsed: seconds since the first slice began, seen: failures as
              FailureTracker exports them}; empty: no slices
    """

    def __init__(self, seconds: float, progress: dict[str, Any] | None = None) -> None:
        self.seconds = seconds
        self.progress = progress or {}
        now = time.monotonic()
        self._end = now + seconds - float(self.progress.get("elapsed", 0.0))
        self._slice_end = now + float(self.progress["seconds"]) if self.progress else None

    @property
    def begun(self) -> bool:
        """Whether an earlier slice has begun what this one goes on with."""
        return float(self.progress.get("elapsed", 0.0)) > 0

    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        return self.left() <= 0

    @property
    def slice_over(self) -> bool:
        return self._slice_end is not None and time.monotonic() >= self._slice_end
