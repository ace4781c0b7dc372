"""HNSW of Milvus: a cluster, or milvus-lite in a file."""

import os
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from mpsheads._files import as_path
from mpsheads._optional import optional_import
from mpsheads.search.engines.base import Neighbours, eight_bits

_URI, _TOKEN = "MPSHEADS_MILVUS", "MPSHEADS_MILVUS_TOKEN"


class Milvus(Neighbours):
    """A collection of Milvus with a graph of neighbours (HNSW); codes and scores stay on this side.

    A file that ends in `.db` is milvus-lite, an address a cluster; the calls are the same. A
    cluster keeps 8 bits a number, milvus-lite floats, since it takes no others. All tests ran on
    milvus-lite 3.2. On a cluster nothing was ever run: not signing in, nor the lines under
    `if remote(...)`, nor `load_collection`, which has work to do there alone.

    Options: `uri`, by default what the variable `MPSHEADS_MILVUS` says; `token`, by default that of
    `MPSHEADS_MILVUS_TOKEN`; `collection`, a name that is not taken, by default one made up;
    `connectivity`, `expansion` and `oversample` as for usearch. The folder of the index keeps the
    collection and the address, never the token. `load` goes to `MPSHEADS_MILVUS` if that is set.

    To remove and save deletes from the collection, which copies of the folder share.
    """

    name = "milvus"
    defaults = {  # noqa: RUF012
        "uri": "", "token": "", "collection": "", "connectivity": 16, "expansion": 64,
        "oversample": None,
    }  # fmt: skip
    most = 16384

    def _open(self, sample: np.ndarray, rows: int) -> None:
        name = self.options["collection"] or f"mpsheads_{token_hex(6)}"
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"`collection` must be letters, digits and _, got {name!r}.")
        self._connect(self.options["uri"] or os.environ.get(_URI, ""))
        self.options["collection"] = name
        if self._client.has_collection(name):
            raise ValueError(f"`collection` {name} is there already: take another name.")
        kinds = optional_import("pymilvus", "milvus").DataType
        kind = kinds.FLOAT_VECTOR
        if remote(self.options["uri"]):
            kind = kinds.INT8_VECTOR
        schema, graph = self._client.create_schema(), self._client.prepare_index_params()
        schema.add_field("key", kinds.INT64, is_primary=True)
        schema.add_field("point", kind, dim=sample.shape[1])
        size = {"M": self.options["connectivity"], "efConstruction": self.options["expansion"]}
        graph.add_index("point", index_type="HNSW", metric_type="L2", params=size)
        self._client.create_collection(
            name, schema=schema, index_params=graph, consistency_level="Strong"
        )

    def _connect(self, uri: str) -> None:
        pymilvus: Any = optional_import("pymilvus", "milvus")
        if not uri:
            raise ValueError(f"Give `uri`, or set {_URI}: an address, or a file that ends in .db.")
        if remote(uri):
            parts = urlsplit(uri)
            shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        else:
            uri = shown = str(as_path(uri).absolute())
        token = self.options["token"] or os.environ.get(_TOKEN, "")
        self.options = self.options | {"uri": shown, "token": ""}
        try:
            self._client = pymilvus.MilvusClient(uri, token=token)
        except pymilvus.MilvusException as error:
            raise ConnectionError(f"`uri` {shown} leads to no Milvus: {error.message}") from error

    def _packed(self, points: np.ndarray) -> list[np.ndarray]:
        if remote(self.options["uri"]):
            points = eight_bits(points)
        return list(points)

    def _insert(self, keys: np.ndarray, points: np.ndarray) -> None:
        pairs = zip(keys.tolist(), self._packed(points), strict=True)
        rows = [{"key": key, "point": point} for key, point in pairs]
        self._client.upsert(self.options["collection"], rows)

    def _remove(self, keys: np.ndarray) -> None:
        if len(keys):
            self._client.delete(self.options["collection"], ids=keys.tolist())

    def _nearest(self, points: np.ndarray, count: int) -> list[np.ndarray]:
        found = self._client.search(
            self.options["collection"],
            self._packed(points),
            limit=count,
            output_fields=["key"],
            search_params={"params": {"ef": max(count, self.options["expansion"])}},
        )
        return [np.array([hit["key"] for hit in hits], np.int64) for hits in found]

    def _write(self, folder: Path) -> None:
        """The options say where the collection is."""

    def _read(self, folder: Path) -> int:
        self._connect(os.environ.get(_URI) or self.options["uri"])
        name = self.options["collection"]
        if not self._client.has_collection(name):
            raise ValueError(f"the collection {name} is not in {self.options['uri']}")
        self._client.load_collection(name)
        return self._client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"]

    @property
    def nbytes(self) -> int:
        """8 bytes a row here; Milvus does not tell what it keeps."""
        return self.keys.nbytes


def remote(uri: str) -> bool:
    """Whether it is the address of a cluster, not a file."""
    return "://" in uri
