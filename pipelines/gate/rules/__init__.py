"""One file per kind of rule: each takes a case and gives rules with numbers, bounds and a decision.

Who adds a rule adds it here, to CHECKS in the gate, and to what the notary expects.
"""

__all__ = [
    "behaviour",
    "bounds",
    "calibration",
    "classes",
    "comparisons",
    "fairness",
    "onnx",
    "rebuild",
    "serving",
    "slices",
    "soundness",
    "weakest",
]
