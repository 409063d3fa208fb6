"""``ogc sandbox``: another program of this package, with options of its own."""

from ogc_async.sandbox.__main__ import main as serve

__all__ = ["serve"]
