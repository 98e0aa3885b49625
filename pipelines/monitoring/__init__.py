"""Watches the champion on what arrives, and says when and why to train again.

In come the newest labelled rows, those the champion was trained on, and the prediction log; out go reports, the page of
a model's days, signals of drift and decay, and the plan of a training. It moves no champion, and a failure of machinery
is never drift.
"""

__all__ = [
    "alarms",
    "arms",
    "calibration",
    "decay",
    "drift",
    "figures",
    "monitor",
    "pages",
    "performance",
    "policy",
    "ranges",
    "truth",
]
