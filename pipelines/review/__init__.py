"""What people look at before they agree: what a change does to each model, and how ready a model is.

In come two sides of a checkout, or one home with its records; out go Markdown, tables and JSON. It decides nothing,
registers nothing, and runs no code of the other side in this process.
"""

__all__ = [
    "changes",
    "scorecard",
]
