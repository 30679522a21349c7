"""The helpdesk itself: one SQLite file and the things one can do with it. It knows nothing of MCP."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connectors.demo.seed import ARTICLES, CUSTOMERS, ORDERS, TICKETS

Row = dict[str, Any]

_SCHEMA = """
CREATE TABLE customer (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, plan TEXT NOT NULL,
    since TEXT NOT NULL);
CREATE TABLE purchase (id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customer, item TEXT NOT NULL,
    total REAL NOT NULL, status TEXT NOT NULL, ordered_on TEXT NOT NULL);
CREATE TABLE ticket (id TEXT PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customer,
    order_id TEXT REFERENCES purchase, status TEXT NOT NULL, priority TEXT NOT NULL, subject TEXT NOT NULL,
    body TEXT NOT NULL);
CREATE TABLE reply (id INTEGER PRIMARY KEY, ticket_id TEXT NOT NULL REFERENCES ticket ON DELETE CASCADE,
    body TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE article (id TEXT PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE refund (id INTEGER PRIMARY KEY, order_id TEXT NOT NULL REFERENCES purchase, amount REAL NOT NULL,
    reason TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
"""


class NotPossible(Exception):
    """The helpdesk cannot do what was asked; the text says why and is meant for the caller."""


class Helpdesk:
    """Opens the file, seeding it when it is new."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA journal_mode = WAL")
        if not self._db.execute("PRAGMA user_version").fetchone()[0]:
            self._seed()

    def _seed(self) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.executemany("INSERT INTO customer VALUES (?, ?, ?, ?, ?)", CUSTOMERS)
            self._db.executemany("INSERT INTO purchase VALUES (?, ?, ?, ?, ?, ?)", ORDERS)
            self._db.executemany("INSERT INTO ticket VALUES (?, ?, ?, ?, ?, ?, ?)", TICKETS)
            self._db.executemany("INSERT INTO article VALUES (?, ?, ?)", ARTICLES)
            self._db.execute("PRAGMA user_version = 1")

    def close(self) -> None:
        self._db.close()

    def ticket_search(self, *, query: str = "", status: str = "any", limit: int = 20) -> Row:
        rows = self._rows(
            "SELECT id, subject, status, priority, customer_id FROM ticket"
            " WHERE (? = 'any' OR status = ?) AND (instr(lower(subject || ' ' || body), lower(?)) > 0)"
            " ORDER BY id LIMIT ?",
            (status, status, query, limit),
        )
        return {"tickets": rows, "count": len(rows)}

    def ticket_get(self, *, ticket_id: str) -> Row:
        ticket = self._one("ticket", ticket_id)
        replies = self._rows("SELECT body, at FROM reply WHERE ticket_id = ? ORDER BY id", (ticket_id,))
        return {**ticket, "replies": replies}

    def ticket_create(
        self,
        *,
        customer_id: str,
        subject: str,
        body: str,
        priority: str = "normal",
        order_id: str | None = None,
    ) -> Row:
        self._one("customer", customer_id)
        if order_id is not None:
            self._one("purchase", order_id)
        last = self._db.execute("SELECT max(CAST(substr(id, 3) AS INTEGER)) FROM ticket").fetchone()[0]
        ticket_id = f"T-{(last or 1000) + 1}"
        self._db.execute(
            "INSERT INTO ticket VALUES (?, ?, ?, 'open', ?, ?, ?)",
            (ticket_id, customer_id, order_id, priority, subject, body),
        )
        return {"id": ticket_id, "status": "open"}

    def ticket_reply(self, *, ticket_id: str, body: str, close: bool = False) -> Row:
        self._one("ticket", ticket_id)
        status = "closed" if close else "pending"
        self._db.execute("INSERT INTO reply (ticket_id, body) VALUES (?, ?)", (ticket_id, body))
        self._db.execute("UPDATE ticket SET status = ? WHERE id = ?", (status, ticket_id))
        return {"id": ticket_id, "status": status}

    def ticket_delete(self, *, ticket_id: str) -> Row:
        self._one("ticket", ticket_id)
        self._db.execute("DELETE FROM ticket WHERE id = ?", (ticket_id,))
        return {"id": ticket_id, "deleted": True}

    def kb_search(self, *, query: str, limit: int = 5) -> Row:
        words = query.lower().split()
        articles = self._rows("SELECT id, title, body FROM article ORDER BY id", ())
        ranked = sorted(articles, key=lambda article: -_hits(article, words))
        return {"articles": [article for article in ranked if _hits(article, words)][:limit]}

    def order_get(self, *, order_id: str) -> Row:
        refunds = self._rows("SELECT amount, reason, at FROM refund WHERE order_id = ? ORDER BY id", (order_id,))
        return {**self._one("purchase", order_id), "refunds": refunds}

    def billing_refund(self, *, order_id: str, amount: float, reason: str) -> Row:
        order = self._one("purchase", order_id)
        paid_back = self._db.execute(
            "SELECT coalesce(sum(amount), 0) FROM refund WHERE order_id = ?", (order_id,)
        ).fetchone()[0]
        if amount > round(order["total"] - paid_back, 2):
            raise NotPossible(f"Only {order['total'] - paid_back:.2f} of order {order_id} can still be refunded.")
        cursor = self._db.execute(
            "INSERT INTO refund (order_id, amount, reason) VALUES (?, ?, ?)", (order_id, amount, reason)
        )
        return {"refund_id": f"R-{cursor.lastrowid}", "order_id": order_id, "amount": amount}

    def customer_get(self, *, customer_id: str) -> Row:
        orders = self._rows("SELECT id, item, total, status FROM purchase WHERE customer_id = ?", (customer_id,))
        return {**self._one("customer", customer_id), "orders": orders}

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Row]:
        return [dict(row) for row in self._db.execute(sql, values)]

    def _one(self, table: str, row_id: str) -> Row:
        rows = self._rows(f"SELECT * FROM {table} WHERE id = ?", (row_id,))  # noqa: S608  # names are ours
        if not rows:
            raise NotPossible(f"There is no {'order' if table == 'purchase' else table} {row_id}.")
        return rows[0]


def _hits(article: Mapping[str, Any], words: list[str]) -> int:
    text = f"{article['title']} {article['body']}".lower()
    return sum(word in text for word in words)
