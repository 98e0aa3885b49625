"""How requests come in: who may call which route, how a body is read, and the page that documents the routes."""

__all__ = ["access", "bodies", "client", "docs"]
