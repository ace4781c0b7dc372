"""A web service of an index: hits as JSON, and a page that sets them beside the uncompressed."""

import re
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, Field, StringConstraints
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads._optional import installed_by
from mpsheads._typing import PathLike
from mpsheads.search.index import Index
from mpsheads.search.measuring import vectors_of
from mpsheads.search.shards import read_shards
from mpsheads.search.storage import code_matrix, hits_at
from mpsheads.similarity import top_k

with installed_by("serve", "fastapi"):
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

_BODY = 64 * 1024  # bytes of a request
_ONE_AT_A_TIME = threading.Lock()
_BEARER = {"WWW-Authenticate": "Bearer"}
_FAULT = "The service failed. What it printed says how."
_Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
_Count = Annotated[int, Field(ge=1, le=100)]


class Question(BaseModel):
    """A query, how many hits it wants, and whether those of the uncompressed vectors, too."""

    query: _Query
    k: _Count = 10
    compare: bool = False


class Answer(BaseModel):
    """Hits with `id`, `score` and `text`, the closest first; the same by uncompressed vectors."""

    hits: list[dict[str, Any]]
    milliseconds: float
    encoder_milliseconds: float
    uncompressed: "Answer | None" = None


def make_app(index: Index, *, token: str | None = None, shards: PathLike | None = None) -> FastAPI:
    """The service of an index, for a server such as uvicorn, or to be mounted in another app.

    `POST /search` and `GET /search` answer with hits, `GET /health` says what is served, `/` is a
    page to search by hand, and `/openapi.json` describes it all. Searches run one at a time.

    Args:
        index: The index. One search is made here, so that the first query waits for no model.
        token: What requests must bear, `Authorization: Bearer TOKEN`; the page asks for it.
        shards: The folder that the index was built of, with the uncompressed vectors. These are
            read to memory and searched, too, unless the index was changed since.

    Raises:
        ValueError: If the index does not know its encoder, the shards hold no vectors, or the token
            has other characters than visible ones of ASCII, or the files of the index were damaged.
    """
    if token is not None and not re.fullmatch("[!-~]+", token):
        raise ValueError("`token` must be of visible characters of ASCII, without spaces.")
    vectors = _check_and_read(index, shards)

    def answer(question: Question) -> Answer:
        with _ONE_AT_A_TIME:
            began = time.perf_counter()
            x = index.query_encoder.encode([question.query], kind="query")
            taken = 1000 * (time.perf_counter() - began)
            found = _answer(index, index.search_rows, taken, x, question.k)
            if vectors is not None and question.compare:
                found.uncompressed = _answer(index, _closest, taken, x, question.k, index, vectors)
        return found

    answer(Question(query="The first one is slow.", compare=True))
    closed = [] if token is None else [Depends(_guard(token))]
    app = FastAPI(title="mpsheads", docs_url=None, redoc_url=None)  # which load foreign scripts
    app.add_middleware(_with_limit)  # pyright: ignore[reportArgumentType]  # it is called alike
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(Exception, lambda *_: JSONResponse({"detail": _FAULT}, 500))
    page = HTMLResponse(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    app.get("/", include_in_schema=False)(lambda: page)
    app.post("/search", dependencies=closed)(answer)

    @app.get("/search", dependencies=closed)
    def answer_to(q: _Query, k: _Count = 10) -> Answer:
        return answer(Question(query=q, k=k))

    @app.get("/health", dependencies=closed)
    async def health() -> dict[str, Any]:
        return {
            "passages": len(index),
            "bytes_per_passage": index.codes.bytes_per_vector,
            "uncompressed_bytes_per_passage": None if vectors is None else 4 * vectors.shape[1],
            "engine": index.engine.name,
            "encoder": Path((index.encoder or {}).get("model", "your own")).name,
        }

    return app


def _check_and_read(index: Index, shards: PathLike | None) -> Tensor | None:
    """The vectors behind the codes of a sound index, of norm 1; `None` if it was changed since."""
    index.verify()
    if shards is None:
        return None
    vectors, start = torch.empty(len(index.codes), index.head.in_features), 0
    for table in read_shards(shards):
        part = slice(start, start := start + len(table))
        if not np.array_equal(index.codes.packed[part], code_matrix(table["code"])):
            return None
        vectors[part] = normalize(vectors_of(table))
    return vectors if start == len(vectors) else None


def _closest(x: Tensor, k: int, index: Index, vectors: Tensor) -> tuple[Tensor, Tensor]:
    rows = index._allowed(None)
    rows = rows if rows is None else rows[rows < len(vectors)]
    found = top_k(normalize(x), vectors, k, similarity=lambda q, d: q @ d.T, rows=rows)
    return found[1], found[0]


def _answer(index: Index, search: Any, encoder_milliseconds: float, *asked: Any) -> Answer:
    began = time.perf_counter()
    rows, scores = search(*asked)
    taken = 1000 * (time.perf_counter() - began)
    hits = hits_at(index.table, rows[0], scores[0])
    return Answer(hits=hits, milliseconds=taken, encoder_milliseconds=encoder_milliseconds)


def _guard(token: str) -> Callable[..., Any]:
    """What refuses requests that do not bear the token."""
    bearer = Depends(HTTPBearer(auto_error=False))

    async def check(given: Annotated[HTTPAuthorizationCredentials | None, bearer]) -> None:
        if not secrets.compare_digest(given.credentials.encode() if given else b"", token.encode()):
            raise HTTPException(401, "The token is wrong or missing.", _BEARER)

    return check


def _with_limit(app: Any) -> Callable[..., Any]:
    """The app behind a limit on what is read of a request, whatever length this claims."""

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        read = 0

        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > _BODY:
                raise HTTPException(413, f"A request may have {_BODY:,} bytes, not more.")
            return message

        await app(scope, counted, send)

    return limited


def _refuse(_: Any, error: Any) -> JSONResponse:
    found = [([p for p in e["loc"] if isinstance(p, str)][-1], e["msg"]) for e in error.errors()]
    return JSONResponse({"detail": "; ".join(f"{name}: {rule}" for name, rule in found)}, 422)
