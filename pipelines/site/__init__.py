"""The catalog that people read: a page over all models, and one per model, from the records alone.

In come the specs, the registry, the audit log, decision records, reports and counts; out go typed facts and HTML that
asks no network. It decides nothing and changes nothing but the pages that it writes; what cannot be read is said where
it would stand, and stops nothing else.
"""

__all__ = ["charts", "facts", "house", "model", "pages", "static", "told", "watching"]
