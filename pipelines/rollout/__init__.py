"""From the gate's PASS to champion, by steps and under watch: shadow, canary, A/B; taken back by itself on a breach.

In come what champion and challenger said to the same questions, and the truth that comes back; out go permits, the next
step, or the end, each an entry in the audit log. It promotes through `promotion` alone, and judges no training.
"""

__all__ = ["evidence", "look", "moves", "past"]
