"""HNSW of pgvector, in a table of a PostgreSQL server."""

import os
import weakref
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads.search.engines.base import Neighbours
from mpsheads.similarity import Codes

_VARIABLE = "MPSHEADS_POSTGRES"
_SECRETS = {"password", "sslpassword", "oauth_client_secret"}  # of an address
_REACH = 1000  # most points that it keeps in view
_HALVES = ("halfvec({})", "halfvec_l2_ops", "<->")  # type, operators of a graph, distance
_BITS = ("bit({})", "bit_hamming_ops", "<~>")
_PAST_REACH = (("iterative_scan", "relaxed_order"), ("max_scan_tuples", str(1 << 30)))


class Pgvector(Neighbours):
    """A table of PostgreSQL with a graph of neighbours (HNSW) over halves, or over single bits.

    Each index has a table of its own, `(key bigint, point halfvec or bit)`, which stays until you
    drop it. The server finds candidates; codes and scores stay on this side. pgvector 0.8 or later.

    Options: `dsn`, where the server is, by default what the variable `MPSHEADS_POSTGRES` says;
    `table`, a name that is not taken, by default one made up; `bits`, 16, or 1 by Hamming distance;
    `connectivity`, `expansion` and `oversample` as for usearch. The folder of the index keeps the
    table and the address without a password. `load` goes to `MPSHEADS_POSTGRES` if that is set,
    else to the address; libpq finds a password in `PGPASSWORD` or `~/.pgpass`.

    To remove and save deletes from the table, which copies of the folder share.
    """

    name = "pgvector"
    defaults = {  # noqa: RUF012
        "dsn": "", "table": "", "connectivity": 16, "expansion": 64, "bits": 16,
        "oversample": None,
    }  # fmt: skip

    def _open(self, sample: np.ndarray, rows: int) -> None:
        check_choice("bits", self.options["bits"], (16, 1))
        self._connect(self.options["dsn"] or os.environ.get(_VARIABLE, ""))
        self.options["table"] = self.options["table"] or f"mpsheads_{token_hex(6)}"
        if self._is_there():
            raise ValueError(f"`table` {self.options['table']} is there already: take another.")
        self._run("CREATE EXTENSION IF NOT EXISTS vector")

    def _connect(self, dsn: str) -> None:
        psycopg: Any = optional_import("psycopg", "pgvector")
        try:
            parts = psycopg.conninfo.conninfo_to_dict(dsn)
            self._db = psycopg.connect(dsn, autocommit=True)
        except psycopg.Error as error:
            reason = str(error).splitlines()[0]
            raise ConnectionError(f"`dsn` or {_VARIABLE} leads to no server: {reason}") from error
        weakref.finalize(self, self._db.close)
        self._dsn, kept = dsn, {name: parts[name] for name in parts.keys() - _SECRETS}
        self.options = self.options | {"dsn": psycopg.conninfo.make_conninfo(**kept)}

    def _run(self, statement: str, *values: Any) -> Any:
        """Run a statement, whose names and values psycopg fills in."""
        return self._server.execute(self._composed(statement), values)

    @property
    def _server(self) -> Any:
        """The connection; a new one if that was lost."""
        if self._db.closed:
            self._connect(self._dsn)
        return self._db

    def _composed(self, statement: str) -> Any:
        sql: Any = optional_import("psycopg.sql", "pgvector")
        table, m = self.options["table"], self.options["connectivity"]
        kind, metric, distance = _BITS if self.options["bits"] == 1 else _HALVES
        return sql.SQL(statement).format(
            table=sql.Identifier(table),
            graph=sql.Identifier(f"{table}_graph"),
            kind=sql.SQL(kind).format(len(self.centre)),
            metric=sql.SQL(metric),
            distance=sql.SQL(distance),
            connectivity=m,
            expansion=max(2 * m, self.options["expansion"]),
        )

    def _is_there(self) -> bool:
        found = self._run("SELECT to_regclass(quote_ident(%s))", self.options["table"])
        return found.fetchone()[0] is not None

    def add(self, codes: Codes) -> None:
        """Add rows, all or none; those that were added and never saved make room for them."""
        with self._server.transaction():
            self._run("CREATE TABLE IF NOT EXISTS {table} (key bigint PRIMARY KEY, point {kind})")
            self._run("DELETE FROM {table} WHERE key > %s", max([-1, *self.keys[-1:].tolist()]))
            super().add(codes)
            self._run(
                "CREATE INDEX IF NOT EXISTS {graph} ON {table} USING hnsw (point {metric}) "
                "WITH (m = {connectivity}, ef_construction = {expansion})"
            )

    def _insert(self, keys: np.ndarray, points: np.ndarray) -> None:
        statement = self._composed("COPY {table} (key, point) FROM STDIN")
        with self._server.cursor().copy(statement) as copy:
            for row in zip(keys.tolist(), map(self._text, points), strict=True):
                copy.write_row(row)

    def _text(self, point: np.ndarray) -> str:
        """A point as PostgreSQL reads it."""
        if self.options["bits"] == 1:
            return "".join("01"[sign] for sign in (point > 0).astype(int))
        return str(point.tolist())

    def _remove(self, keys: np.ndarray) -> None:
        self._run("DELETE FROM {table} WHERE key = ANY(%s)", keys.tolist())

    def _nearest(self, points: np.ndarray, count: int) -> list[np.ndarray]:
        reach = str(min(_REACH, max(count, self.options["expansion"])))
        query = "SELECT key FROM {table} ORDER BY point {distance} %s::{kind} LIMIT %s"
        with self._server.transaction():
            for name, value in (("ef_search", reach), *_PAST_REACH):
                self._run("SELECT set_config(%s, %s, true)", f"hnsw.{name}", value)
            rows = [self._run(query, self._text(point), count).fetchall() for point in points]
        return [np.array(keys, np.int64).ravel() for keys in rows]

    def _write(self, folder: Path) -> None:
        """The options say where the table is."""

    def _read(self, folder: Path) -> int:
        self._connect(os.environ.get(_VARIABLE) or self.options["dsn"])
        if not self._is_there():
            raise ValueError(f"the table {self.options['table']} is not in the database")
        return self._run("SELECT count(*) FROM {table}").fetchone()[0]

    @property
    def nbytes(self) -> int:
        """Bytes of table and graph on the server, and 8 a row here."""
        size = self._run(
            "SELECT pg_total_relation_size(quote_ident(%s)::regclass)", self.options["table"]
        )
        return size.fetchone()[0] + self.keys.nbytes
