"""Astra: the production layer that Python ASGI services need."""

__all__ = ["__version__"]

__version__ = "0.1.0"
