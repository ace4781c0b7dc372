"""From a file of texts to answers, by the commands."""

import json
from pathlib import Path

import pytest

from mpsheads.retrieval import read_run
from mpsheads.search import Index

TEXTS = {
    "a": "quantum state of a qubit",
    "b": "tensor network search",
    "c": "the head of the gate",
    "d": "state of the search",
    "e": "qubit gate",
}


@pytest.fixture
def texts():
    lines = [json.dumps({"id": i, "text": text}) for i, text in TEXTS.items()]
    with open("my.jsonl", "w") as file:  # noqa: PTH123
        file.write("\n".join(lines))
    Path("ten.txt").write_text("gate\n" * 10)
    return "my.jsonl"


@pytest.fixture
def idx(command, texts, model_folder):
    options = ["--encoder", model_folder, "--bytes", 16, "--output", "idx"]
    report = command("index", texts, *options, "--check", 3, "--json").json
    assert (report["passages"], report["bytes"], report["bytes_before"]) == (5, 16, 192)
    assert report["recall_exact"] == 1
    return "idx"


def test_a_question_is_answered_from_texts_in_three_commands(command, idx):
    ran = command("search", idx, "tensor network search", "--top", 2, "--json").json
    assert ran["hits"][0]["id"] == "b"
    assert ran["hits"][0]["text"] == TEXTS["b"]
    assert ran["hits"][0]["score"] >= ran["hits"][1]["score"]
    shown = command("search", idx, "tensor network search", "--top", 1).out
    assert " 1 " in shown
    assert TEXTS["b"] in shown


def test_few_passages_are_warned_of_in_one_line_and_one_is_too_few(command, fails, model_folder):
    options = ["--encoder", model_folder, "--bytes", 16, "--output"]
    Path("one.txt").write_text("gate\n")
    assert "better some thousand, but there is 1" in fails("index", "one.txt", *options, "a/b")
    assert not Path("a").exists()
    Path("three.txt").write_text("gate\nqubit\nstate\n")
    warned = command("index", "three.txt", *options, "idx").err
    assert warned.startswith("Warning: `x` holds 3 rows")
    assert warned.count("\n") == 1


def test_many_queries_become_a_run(command, idx, texts):
    asked = ["search", idx, "--queries", texts, "--run", "out.trec", "--top", 10**12, "--json"]
    assert command(*asked).json == {"queries": 5, "run": "out.trec"}
    run = read_run("out.trec")
    assert set(run) == set(TEXTS)
    assert all(max(run[i], key=run[i].get) == i for i in TEXTS)
    assert set(command("search", idx, "--queries", texts, "--json").json) == set(TEXTS)


def test_the_prompt_ends_at_the_end_of_its_input_and_stays_off_stdout(command, idx):
    ran = command("search", idx, "--json")  # of which there is none
    assert (ran.code, ran.out, ran.err) == (0, "", "query> ")


def test_queries_of_one_name_are_refused(command, idx):
    with open("q.jsonl", "w") as file:  # noqa: PTH123
        file.write('{"id": "a", "text": "x"}\n' * 2)
    ran = command("search", idx, "--queries", "q.jsonl")
    assert ran.code == 2
    assert "'a' comes a second time" in ran.err


def test_encode_and_index_in_two_steps_give_the_same_index(command, idx, texts, model_folder):
    options = ["--encoder", model_folder, "--bytes", 16, "--keep-text", "--output", "shards"]
    assert command("encode", texts, *options).out.startswith("5 passages in 16 bytes each, 192")
    ran = command("index", "shards", "--output", "other[a]:book:", "--engine", "lists")
    assert "mpsheads search other[a]:book:" in ran.out.replace("\n", " ")
    for unread in (
        ["--keep-vectors"], ["--head", "x"], ["--id-column", "x"], ["--bytes", 32],
        ["--encoder", "mpnet"],
    ):  # fmt: skip
        assert "`SOURCE` is encoded" in command("index", "shards", *unread).err
    one, other = Index.load(idx), Index.load("other[a]:book:")
    assert one.codes.packed.equal(other.codes.packed)
    assert one.search_texts(["qubit gate"], 5) == other.search_texts(["qubit gate"], 5)


def test_the_same_command_again_changes_nothing(command, idx, texts, model_folder):
    before = (Index.load(idx).codes.packed, Index.load(idx).table)
    options = ["--encoder", model_folder, "--bytes", 16, "--output", idx]
    for more in (["--check", 3], []):  # the vectors that it wanted stay
        assert command("index", texts, *options, *more).code == 0
    assert before[0].equal(Index.load(idx).codes.packed)
    assert before[1].equals(Index.load(idx).table)


def test_another_model_than_that_of_the_index_is_refused(command, idx, model_folder):
    file = model_folder / "config.json"
    file.write_text(file.read_text() + " ")
    ran = command("search", idx, "x")
    assert ran.code == 2
    assert "is not the one that made the index" in ran.err


WRONG = {
    ("index", "nope.jsonl"): "There is no file or folder 'nope.jsonl'",
    ("index", "my.jsonl", "--text-column", "body"): "`--text-column` 'body' is not there",
    ("index", "my.jsonl", "--engine", "nope"): "`--engine` must be one of",
    ("index", "my.jsonl", "--engine-option", "x"): "`--engine-option` must be NAME=VALUE",
    ("index", "my.jsonl", "--bytes", "4"): "`--bytes` must be at least 8",
    ("index", "my.jsonl", "--output", "."): ". holds something else than an index",
    ("encode", "my.jsonl", "--output", "x.npy"): "`--output` x.npy must be a folder",
    ("encode", "my.jsonl", "--dataset", "x", "--output", "y"): "by `--dataset`, not both",
    ("encode", "--dataset", "ten.txt", "--output", "x.npy"): "since some passages ask",
    ("search", "nope", "x"): "is no index",
    ("search", "idx", "x", "--queries", "q"): "not both",
    ("search", "idx", "x", "--run", "q"): "`--run` holds the rankings of `--queries`",
    ("search", "idx", "x", "--top", "0"): "`--top` must be at least 1",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_a_mistake_is_one_line(command, texts, model_folder, arguments):
    encoder = [] if arguments[0] == "search" else ["--encoder", model_folder]
    ran = command(*arguments, *encoder)
    assert ran.code == 2
    assert WRONG[arguments] in ran.err
    assert ran.err.count("\n") == 1
    assert not Path("passages").exists()
