"""The whole loop: its steps as a scheduler calls them, the past landed anew, and how a deployment is.

In come names and times as plain JSON; out go ids, addresses and counts. It decides nothing itself.
"""

__all__ = [
    "checkup",
    "costs",
    "doctor",
    "gauges",
    "replay",
    "rollout",
    "steps",
    "summary",
]
