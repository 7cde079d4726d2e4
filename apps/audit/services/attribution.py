"""Tell the database who writes: the actor and the request id reach the row-change triggers as `portico.context`.

The setting is local to the transaction and is sent once, before its first write; a request that only reads sends
nothing. It goes past Django's cursors, so that it is neither counted nor logged as a query of the application's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Connection
from psycopg.pq import TransactionStatus

from apps.core.actor import Actor, ActorKind
from apps.core.context import current_actor, current_request_id

Context = tuple[Actor, str] | None

SET_CONTEXT = "SELECT set_config('portico.context', %s, %s)"
_FIRST_WORD = re.compile(r"[\s(]*([A-Za-z]+)")
_READS = frozenset(
    {
        "BEGIN", "CLOSE", "COMMIT", "DECLARE", "EXPLAIN", "FETCH", "LISTEN", "LOCK", "NOTIFY", "RELEASE", "RESET",
        "SAVEPOINT", "SELECT", "SET", "SHOW", "START", "UNLISTEN", "VALUES",
    }
)  # fmt: skip


@dataclass(slots=True)
class _Held:
    """What a connection's `portico.context` holds; in a transaction, what this transaction set, when it did."""

    session: Context = None
    transaction: Context = None
    is_set_in_transaction: bool = False
    is_unknown: bool = False

    def forget_transaction(self) -> None:
        self.transaction, self.is_set_in_transaction, self.is_unknown = None, False, False

    def is_already(self, wanted: Context) -> bool:
        if self.is_unknown:
            return False
        return wanted == (self.transaction if self.is_set_in_transaction else self.session)


# By the connection to the server, not by Django's: a pool hands the former from one of the latter to another.
_held: WeakKeyDictionary[Connection[Any], _Held] = WeakKeyDictionary()


class AttributeWrites:
    """An execute wrapper of one Django connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        server: Connection[Any] = self.connection.connection
        held = _held.setdefault(server, _Held())
        status = server.info.transaction_status
        if status == TransactionStatus.IDLE:
            held.forget_transaction()
        word = _first_word(sql)
        if word == "ROLLBACK":  # to a savepoint: the setting is again what it was there
            held.is_unknown = True
        elif word not in _READS and status in {TransactionStatus.IDLE, TransactionStatus.INTRANS}:
            self._attribute(server, held)
        return execute(sql, params, many, context)

    def _attribute(self, server: Connection[Any], held: _Held) -> None:
        wanted = current_context()
        if held.is_already(wanted):
            return
        is_local = not server.autocommit
        with self.connection.wrap_database_errors, server.cursor() as cursor:
            cursor.execute(SET_CONTEXT, [encode_context(wanted), is_local])
        if is_local:
            held.transaction, held.is_set_in_transaction, held.is_unknown = wanted, True, False
        else:
            held.session = wanted


def current_context() -> Context:
    """Return who is being served in which request; None where nobody said, as in a shell."""
    actor, request_id = current_actor(), current_request_id()
    if actor.kind == ActorKind.ANONYMOUS and not request_id:
        return None
    return actor, request_id or actor.request_id


def encode_context(context: Context) -> str:
    """Return the setting's text: JSON with `actor` and `request_id`, or nothing."""
    if context is None:
        return ""
    actor, request_id = context
    return json.dumps({"actor": actor.describe(), "request_id": request_id})


def attribute_connection(connection: BaseDatabaseWrapper) -> None:
    """Attribute what is written over a Django connection from now on. Safe to call again for the same one."""
    wrappers = connection.execute_wrappers
    if connection.vendor == "postgresql" and not any(isinstance(wrapper, AttributeWrites) for wrapper in wrappers):
        wrappers.insert(0, AttributeWrites(connection))  # first: `execute_wrapper` blocks remove the last


def _first_word(sql: Any) -> str:
    match = _FIRST_WORD.match(sql) if isinstance(sql, str) else None
    return match.group(1).upper() if match else ""
