"""Feast as this deployment uses it: definitions, registry, versions of views, and the health they had."""

__all__ = [
    "definitions",
    "described",
    "features",
    "health",
    "online_values",
    "registry",
    "views",
]
