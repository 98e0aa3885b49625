"""The reference, made of what it describes: `make docs` writes docs/reference/ from types, settings and commands."""
