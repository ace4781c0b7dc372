"""The web service: its answers are those of the index, its limits hold, and its page is safe."""

import shutil
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
import torch
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from mpsheads.retrieval import Passages
from mpsheads.search import Index, encode_passages
from mpsheads.search.serve import make_app

SCRIPT = "<script>document.title = 'owned'</script><b>cats & \"dogs\"</b> 猫 naïve"
WORDS = ["cats", "dogs", "fish", "birds", "trees", "stars", "rivers", "stones", "rain", "snow"]
TEXTS = [SCRIPT, *(" ".join(words) for n in (2, 3, 4) for words in combinations(WORDS, n))]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Bag:
    """An encoder that adds up random vectors of words."""

    features, settings = 32, {"model": "/a/folder/bag"}

    def __init__(self):
        self.running = self.most = 0

    def fingerprint(self):
        return "bag"

    def encode(self, texts, kind="document"):
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.01)
        self.running -= 1
        return torch.stack([sum(map(self._word, text.split())) for text in texts])  # pyright: ignore

    def _word(self, word):
        seed = torch.Generator().manual_seed(zlib.crc32(word.encode()))
        return torch.randn(self.features, generator=seed)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    passages, kept = Passages(folder / "texts.txt"), {"keep_text": True, "keep_vectors": True}
    encode_passages(passages, Bag(), folder / "passages", bytes=16, rows=100, **kept)
    return folder / "passages"


@pytest.fixture
def index(shards):
    made = Index.build(shards)
    made.query_encoder = Bag()
    return made


@pytest.fixture
def client(index, shards):
    return TestClient(make_app(index, shards=shards), raise_server_exceptions=False)


@pytest.mark.parametrize("query", ["cats dogs", SCRIPT, "猫 naïve \x00 🐈"])
def test_hits_are_those_of_the_index(client, index, query):
    ids, scores = index.search_texts([query], 3)
    wanted = [
        {"id": i, "score": s, "text": index.text(i)} for i, s in zip(ids[0], scores[0], strict=True)
    ]
    posted = client.post("/search", json={"query": query, "k": 3}).json()
    got = client.get("/search", params={"q": query, "k": 3}).json()
    assert posted["hits"] == got["hits"] == wanted
    assert posted["uncompressed"] is None
    assert posted["milliseconds"] > 0 < posted["encoder_milliseconds"]


def test_hits_of_the_uncompressed_vectors_are_the_closest_by_cosine(client, index):
    found = client.post("/search", json={"query": "fish rain", "k": 4, "compare": True}).json()
    cosines = torch.cosine_similarity(Bag().encode(["fish rain"]), Bag().encode(TEXTS))
    values, rows = cosines.topk(4)
    hits = found["uncompressed"]["hits"]
    assert [hit["text"] for hit in hits] == [TEXTS[row] for row in rows]
    torch.testing.assert_close(torch.tensor([hit["score"] for hit in hits]), values)
    index.remove([hits[0]["id"]])  # nobody finds it again, on either side
    again = client.post("/search", json={"query": "fish rain", "k": 4, "compare": True}).json()
    assert [hit["id"] for hit in again["uncompressed"]["hits"]][:3] == [h["id"] for h in hits[1:]]


def test_health_says_what_is_served(client, index):
    assert client.get("/health").json() == {
        "passages": len(TEXTS),
        "bytes_per_passage": index.codes.bytes_per_vector,
        "uncompressed_bytes_per_passage": 128,
        "engine": "exact",
        "encoder": "bag",
    }
    assert {"/search", "/health"} == set(client.get("/openapi.json").json()["paths"])
    assert client.get("/openapi.json").status_code == 200
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_what_was_added_since_has_no_uncompressed_side(index, shards):
    index.add(["new"], torch.ones(1, 32), ["words"])
    client = TestClient(make_app(index, shards=shards))
    assert client.get("/health").json()["uncompressed_bytes_per_passage"] is None


def test_an_empty_index_finds_nothing(index, shards):
    index.remove(index.table["id"].to_pylist())
    client = TestClient(make_app(index, shards=shards))
    found = client.post("/search", json={"query": "cats", "compare": True}).json()
    assert found["hits"] == found["uncompressed"]["hits"] == []


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"query": "cats", "k": 0}, 422, "k: Input should be greater than or equal to 1"),
        ({"query": "cats", "k": 101}, 422, "k: Input should be less than or equal to 100"),
        ({"query": " "}, 422, "query: String should have at least 1 character"),
        ({"query": "x" * 2001}, 422, "query: String should have at most 2000 characters"),
        ({}, 422, "query: Field required"),
        (b'{"query": "\\ud800"}', 422, "query: Input should be a valid string, unable to parse"),
        (b'{"query":', 422, "body: JSON decode error"),
        (b"[" * 65536, 400, "There was an error parsing the body"),
        (b"x" * 65537, 413, "A request may have 65,536 bytes, not more."),
        ((b"x" * 30000 for _ in range(3)), 413, "A request may have 65,536 bytes, not more."),
    ],
)
def test_a_request_past_a_limit_is_refused_in_one_line(client, body, code, said):
    given = {"json": body} if isinstance(body, dict) else {"content": body}
    answer = client.post("/search", headers={"Content-Type": "application/json"}, **given)
    assert answer.status_code == code
    assert answer.json()["detail"].startswith(said)
    assert len(answer.text) < 200
    assert client.get("/search", params={"q": "cats", "k": 100}).status_code == 200
    assert client.get("/search", params={"q": "x" * 2001, "k": 101}).status_code == 422


def test_with_a_token_only_the_page_and_the_description_are_open(index):
    client = TestClient(make_app(index, token="s3cret!"))
    for header in ("", "Bearer", "Bearer wrong", "Bearer s3cret", "Basic s3cret!", "Bearer é"):
        bearing = {"Authorization": header.encode("latin-1")}
        assert client.get("/health", headers=bearing).status_code == 401  # pyright: ignore
        refused = client.post("/search", json={"query": "cats"}, headers=bearing)  # pyright: ignore
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert "s3cret" not in refused.text
    bearing = {"Authorization": "Bearer s3cret!"}
    assert client.get("/search", params={"q": "cats"}, headers=bearing).json()["hits"]
    assert client.get("/").status_code == client.get("/openapi.json").status_code == 200
    for token in ("", "two words", "é"):
        with pytest.raises(ValueError, match="`token` must be of visible characters"):
            make_app(index, token=token)


def test_a_fault_inside_leaves_as_one_line(client, index, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the inner secret")

    monkeypatch.setattr(index.query_encoder, "encode", fail)
    answer = client.post("/search", json={"query": "cats"})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The service failed. What it printed says how."}


def test_searches_run_one_at_a_time(client, index):
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda word: client.get("/search", params={"q": word}).json(), WORDS * 2)
        found = [[hit["id"] for hit in answer["hits"]] for answer in answers]
    assert index.query_encoder.most == 1
    assert found == index.search_texts(WORDS * 2)[0]


def test_it_can_be_mounted_in_another_app(index):
    app = FastAPI()
    index.encoder = None  # as if built of codes, with an encoder of its own
    app.mount("/texts", make_app(index))
    client = TestClient(app)
    assert client.get("/texts/health").json()["encoder"] == "your own"
    assert "<title>mpsheads search</title>" in client.get("/texts").text
    assert client.get("/texts/search", params={"q": "cats"}).json()["hits"]
    assert client.post("/texts/search", content=b"x" * 65537).status_code == 413


def test_shards_without_vectors_are_refused(tmp_path, index):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    passages = Passages(tmp_path / "texts.txt")
    encode_passages(passages, Bag(), tmp_path / "passages", bytes=16, rows=100)
    with pytest.raises(ValueError, match="The shards hold no vectors"):
        make_app(index, shards=tmp_path / "passages")


@pytest.fixture
def browser(tmp_path):
    """Debian's chromium, on a telephone's window or whatever is set."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("There is no browser: apt-get install chromium chromium-driver.")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    made.implicitly_wait(30)
    yield made
    made.quit()


@pytest.fixture
def address(index, shards):
    """Where the index is served, with a token."""
    app = make_app(index, token="s3cret", shards=shards)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.slow
def test_the_page_shows_both_sides_and_marks_what_both_have(browser, address):
    def all_of(selector):
        return browser.find_elements("css selector", selector)

    browser.get(address)
    browser.find_element("css selector", "#door[open] input").send_keys("s3cret")
    all_of("#door button")[0].click()
    browser.find_element("id", "query").send_keys(SCRIPT)
    browser.find_element("id", "go").click()
    browser.find_element("css selector", "section:nth-of-type(2) li")
    sides = [
        {item.find_element("class name", "id").text: item for item in side}
        for side in ([*all_of(f"section:nth-of-type({place}) li")] for place in (1, 2))
    ]
    assert len(sides[0]) == len(sides[1]) == 10
    both = sides[0].keys() & sides[1].keys()
    assert 0 < len(both) < 10
    for side in sides:
        for identifier, item in side.items():
            assert ("✓ in both" in item.text) == (identifier in both)
    assert f"{len(both)} of 10 hits are on both sides" in browser.find_element("id", "told").text
    heads = [head.text for head in all_of("section p.faint")]
    assert [head.split(" bytes a passage")[0] for head in heads] == ["16", "128"]
    assert all(head.endswith(" ms") for head in heads)
    assert all_of("section li .text")[0].text == SCRIPT  # as text, and nothing of it ran
    assert browser.title == "mpsheads search"
    assert not browser.execute_script("return document.querySelector('li b, li script')")
    refused = [entry for entry in browser.get_log("browser") if "401" not in entry["message"]]
    assert refused == []
