"""What machines of one deployment share: files by name, in an object store or in a folder that all of them mount.

In come files of home that others must find; out goes what was kept last. It knows no meaning of any of them.
"""

__all__ = [
    "files",
    "objects",
]
