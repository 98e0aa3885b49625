"""What the loop costs: each step measured as it runs, and serving; shared among models by a stated rule, and told with
what to save.

In come steps that run, and the figures that were kept of them; out go a bill and findings. A figure that cannot be
kept never fails or delays a step, and no price is made up.
"""

__all__ = [
    "answers",
    "bill",
    "findings",
    "measured",
    "storage",
]
