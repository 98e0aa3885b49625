"""Tells people what broke, since when, whether anyone must act, and where to look.

In come facts that other rooms have found and recorded; out go alerts: told once as they open, again while they last,
and once when they are over. It decides nothing, changes no record but its own, and never makes anything fail.
"""

__all__ = ["alert", "delivery", "happened", "kinds", "landed", "telling", "watched"]
