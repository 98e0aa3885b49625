"""The one write that makes a version champion, and all that may lead to it: approval, override, rollback, retirement.

In comes a verdict that the notary attests; out go a licence, the moved alias and an entry in the audit log. Who has no
licence is not moved to; a move that fails changes nothing. It trains and judges nothing.
"""

__all__ = [
    "approval",
    "champions",
    "missing",
    "overview",
    "promote",
    "retire",
    "rollback",
]
