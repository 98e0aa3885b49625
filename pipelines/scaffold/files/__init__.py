"""The files of a model as they are written, from readable templates and the design alone."""

__all__: list[str] = []
