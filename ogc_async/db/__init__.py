"""The database: where every node and every step is on record.

``connect()`` gives an :class:`Engine`, ``session(engine)`` opens sessions on it for plain code and for coroutines,
``createtbl``, ``droptbl`` and ``migrate`` (each with its ``_async`` coroutine) look after the tables.
"""

from ogc_async.db.engine import Engine, connect
from ogc_async.db.models import Action, Node, User
from ogc_async.db.schema import createtbl, createtbl_async, droptbl, droptbl_async, migrate, migrate_async
from ogc_async.db.sessions import BlockingSession, Session, SessionFactory, session

__all__ = [
    "Action",
    "BlockingSession",
    "Engine",
    "Node",
    "Session",
    "SessionFactory",
    "User",
    "connect",
    "createtbl",
    "createtbl_async",
    "droptbl",
    "droptbl_async",
    "migrate",
    "migrate_async",
    "session",
]
