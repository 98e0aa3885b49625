"""What a person's table is like: its columns, what is to be told, when rows happened, what would tell too much."""

__all__ = [
    "answers",
    "moments",
    "profile",
    "sources",
]
