"""A deployment as of one moment, copied into a folder, and made again from there on any machine.

In come the places of a running deployment; out go files by their digest, a signed manifest, and from those a home
that is believed once it is whole. It changes nothing of the deployment that it copies but the audit log, which has an
entry of it.
`parts.py` is the one list of what there is to copy.
"""

__all__ = [
    "restoring",
    "taking",
]
