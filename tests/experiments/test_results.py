import json
import math

import pytest

from mpsheads.experiments import append_result, key_of, read_results


def result(**fields):
    line = {
        "format_version": 1,
        "experiment": "compression",
        "encoder": "minilm",
        "train": "pairs",
        "trained": "head",
        "method": "mps",
        "settings": {"depth": 2, "axes": "y"},
        "size": 128,
        "bits": 32,
        "seed": 0,
        "fraction": 1.0,
        "epoch": 2,
        "test": "dl/19",
        "measure": "nDCG@10",
        "features": 384,
        "bytes": 512,
        "parameters": 1409,
        "scores": {"q1": 0.61, "ü": 0.4},
    }
    return line | fields


def test_what_is_appended_is_read_back_in_order(tmp_path):
    file = tmp_path / "new" / "results.jsonl"
    lines = [result(seed=seed) for seed in range(3)]
    for line in lines:
        append_result(file, line)
    assert read_results(file) == lines


@pytest.mark.parametrize("cut", [1, 40, -2])
def test_a_cut_last_line_is_left_out_and_replaced_by_the_next_result(tmp_path, cut):
    file = tmp_path / "results.jsonl"
    append_result(file, result(seed=0))
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:cut])
    assert read_results(file) == [result(seed=0)]
    append_result(file, result(seed=1))
    assert read_results(file) == [result(seed=0), result(seed=1)]
    assert file.read_bytes().startswith(whole)


def test_a_line_cut_inside_a_letter_is_left_out(tmp_path):
    file = tmp_path / "results.jsonl"
    append_result(file, result())
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: whole.index("ü".encode()) + 1])
    assert read_results(file) == [result()]


def test_a_last_line_without_its_line_break_is_kept(tmp_path):
    file = tmp_path / "results.jsonl"
    append_result(file, result(seed=0))
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    assert read_results(file) == [result(seed=0)]
    append_result(file, result(seed=1))
    assert read_results(file) == [result(seed=0), result(seed=1)]


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path):
    file = tmp_path / "results.jsonl"
    text = json.dumps(result())
    file.write_text(f"{text}\n{text[:50]}\n{text}\n")
    with pytest.raises(ValueError, match=r"line 2: not a JSON object"):
        read_results(file)


def test_a_file_of_another_version_is_refused(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text(json.dumps(result(format_version=2)) + "\n")
    with pytest.raises(ValueError, match="line 1: was written by another version"):
        read_results(file)
    with pytest.raises(ValueError, match="another version"):
        append_result(file, result(format_version=2))


def test_a_result_without_scores_is_not_written(tmp_path):
    file = tmp_path / "results.jsonl"
    for scores in ({}, {"q": math.nan}, {"q": "0.5"}):
        with pytest.raises(ValueError, match="score"):
            append_result(file, result(scores=scores))
    with pytest.raises(ValueError, match="not finite"):
        append_result(file, result(seconds=math.inf))
    with pytest.raises(ValueError, match="must hold measure"):
        append_result(file, {k: v for k, v in result().items() if k != "measure"})
    assert not file.exists()


def test_a_missing_file_is_said_and_an_empty_one_holds_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none.jsonl"):
        read_results(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    assert read_results(tmp_path / "empty.jsonl") == []


def test_keys_ignore_the_order_of_settings_and_tell_everything_else_apart():
    line = result()
    assert key_of(line) == key_of(result(settings={"axes": "y", "depth": 2}, scores={"q": 1.0}))
    others = {"seed": 1, "size": 64, "settings": {"depth": 3}, "epoch": 1, "fraction": 0.5}
    for name, value in others.items():
        assert key_of(line) != key_of(result(**{name: value}))
    assert key_of(json.loads(json.dumps(line))) == key_of(line)
