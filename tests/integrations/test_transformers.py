"""An encoder with a head as one transformers model."""

import pytest
import torch
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from tests.integrations.tiny import FEATURES, HEADS, TEXTS
from tests.later import Later

pytestmark = pytest.mark.slow

transformers = Later("transformers")
architectures = Later("transformers.models")
hf = Later("mpsheads.transformers")

SMALL = {"hidden_size": FEATURES, "num_attention_heads": 4, "intermediate_size": 32}
ENCODERS = {
    "Bert": {**SMALL, "num_hidden_layers": 5, "vocab_size": 60},
    "Roberta": {**SMALL, "num_hidden_layers": 5, "vocab_size": 60},
    "XLMRoberta": {**SMALL, "num_hidden_layers": 5, "vocab_size": 60},
    "MPNet": {**SMALL, "num_hidden_layers": 5, "vocab_size": 60},
    "ModernBert": {**SMALL, "num_hidden_layers": 5, "vocab_size": 60, "pad_token_id": 0},
    "DistilBert": {"dim": FEATURES, "n_heads": 4, "n_layers": 5, "vocab_size": 60},
    "Electra": {**SMALL, "num_hidden_layers": 5, "vocab_size": 60},
    "DebertaV2": {**SMALL, "num_hidden_layers": 5, "vocab_size": 60},
}


def encoder_of(name):
    torch.manual_seed(0)
    config = getattr(architectures, f"{name}Config")(**ENCODERS[name])
    return getattr(architectures, f"{name}Model")(config).eval()


@pytest.fixture
def tokens(encoder_folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder_folder)
    return tokenizer(TEXTS, padding=True, return_tensors="pt")


@pytest.fixture
def model(encoder_folder, head):
    return hf.MPSHeadModel.from_encoder(encoder_folder, head, trainable_layers=1).eval()


def compressed(model, tokens):
    with torch.no_grad():
        return model(**tokens).compressed


def test_the_vectors_are_those_of_pooling_and_head(model, head, encoder_folder, tokens):
    encoder = transformers.AutoModel.from_pretrained(encoder_folder).eval()
    with torch.no_grad():
        hidden = encoder(**tokens).last_hidden_state
        lengths = tokens["attention_mask"].sum(1)
        pooled = torch.stack([h[:n].mean(0) for h, n in zip(hidden, lengths, strict=True)])
        output = model(**tokens)
    assert_close(output.last_hidden_state, hidden)
    assert_close(output.pooled, pooled)
    assert_close(output.compressed, head(pooled))
    assert_close(output[0], output.compressed)
    assert_close(model.similarity(output[0], output[0]), head.similarity(output[0], output[0]))


def test_cls_pooling_takes_the_first_token_also_after_padding(encoder_folder, head, tokens):
    model = hf.MPSHeadModel.from_encoder(encoder_folder, head, pooling="cls", trainable_layers=1)
    with torch.no_grad():
        output = model.eval()(**tokens)
    assert_close(output.pooled, output.last_hidden_state[:, 0])
    with torch.no_grad():
        flipped = {name: value.flip(1) for name, value in tokens.items()}
        output = model(**flipped)
        first = flipped["attention_mask"].argmax(1)
    assert_close(output.pooled, output.last_hidden_state[torch.arange(len(first)), first])


def test_what_the_encoder_returns_is_passed_on(model, tokens):
    with torch.no_grad():
        output = model(**tokens, output_hidden_states=True)
        found = model(**tokens, return_dict=False)
    assert len(output.hidden_states) == 4
    assert isinstance(found, tuple)
    assert_close(found[0], output.compressed)


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_survives_saving(encoder_folder, kind, tokens, tmp_path):
    model = hf.MPSHeadModel.from_encoder(encoder_folder, HEADS[kind](), trainable_layers=2).eval()
    model.save_pretrained(tmp_path)
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    for maker in (hf.MPSHeadModel, transformers.AutoModel):
        found = maker.from_pretrained(tmp_path)
        assert type(found) is hf.MPSHeadModel
        assert_close(compressed(found, tokens), compressed(model, tokens))
        assert [n for n, p in found.named_parameters() if p.requires_grad] == trained
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, hf.MPSHeadConfig)
    assert (config.trainable_layers, config.pooling) == (2, "mean")


def test_the_saved_folder_has_the_tokenizer_and_no_path_of_this_machine(
    model, encoder_folder, tmp_path
):
    model.config.max_tokens = 5
    model.save_pretrained(tmp_path)
    assert str(encoder_folder) not in (tmp_path / "config.json").read_text()
    again = hf.MPSHeadModel.from_pretrained(tmp_path)
    assert again.tokenizer.model_max_length == 5
    assert_close(again.eval().encode(TEXTS), model.encode(TEXTS), rtol=0, atol=0)


def test_texts_are_cut_padded_and_batched_without_effect_on_their_vectors(model):
    texts = TEXTS * 15  # more than a batch
    single = [compressed(model, model.tokenizer([text], return_tensors="pt")) for text in texts]
    assert_close(model.encode(texts), torch.cat(single))
    model.config.max_tokens = 4
    cut = model.tokenizer(TEXTS, max_length=4, truncation=True, return_tensors="pt", padding=True)
    assert_close(model.encode(TEXTS), compressed(model, cut))
    assert model.encode([]).shape == (0, 16)
    assert not model.encode(TEXTS).requires_grad
    assert model.train().encode(TEXTS).requires_grad
    bare = hf.MPSHeadModel.from_encoder(
        transformers.AutoModel.from_config(model.config.encoder), trainable_layers=1
    )
    bare.config.encoder._name_or_path = ""
    with pytest.raises(ValueError, match=r"set `model.tokenizer`"):
        bare.encode(TEXTS)
    bare.tokenizer = model.tokenizer
    assert bare.encode(TEXTS).shape == (5, 16)


@pytest.mark.parametrize("count", [0, 1, None])
def test_the_trained_layers_alone_drop_out(encoder_folder, count):
    model = hf.MPSHeadModel.from_encoder(encoder_folder, trainable_layers=count).train()
    layers = [layer.training for layer in model.encoder.encoder.layer]
    assert layers == {0: [False] * 3, 1: [False, False, True], None: [True] * 3}[count]
    assert model.encoder.embeddings.dropout.training is (count is None)
    assert not any(module.training for module in model.eval().modules())


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_the_last_layers_are_trained_whatever_the_encoder(name):
    encoder = encoder_of(name)
    model = hf.MPSHeadModel.from_encoder(encoder, trainable_layers=2)
    layers = next(
        m for m in encoder.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 5
    )
    expected = {id(p) for layer in layers[3:] for p in layer.parameters()}
    expected |= {id(p) for p in model.head.parameters()}
    assert {id(p) for p in model.parameters() if p.requires_grad} == expected
    ids = torch.randint(5, 50, (2, 6))
    assert model(ids, torch.ones_like(ids)).compressed.shape == (2, 16)


@pytest.mark.parametrize(("count", "trained"), [(0, False), (None, True)])
def test_none_or_all_of_the_encoder_is_trained(encoder_folder, count, trained):
    model = hf.MPSHeadModel.from_encoder(encoder_folder, trainable_layers=count)
    for name, parameter in model.encoder.named_parameters():
        assert parameter.requires_grad is (trained and "pooler" not in name), name
    assert all(p.requires_grad for p in model.head.parameters())


def test_layers_that_cannot_be_found_are_named(encoder_folder):
    shared = architectures.AlbertModel(
        architectures.AlbertConfig(**SMALL, embedding_size=8, num_hidden_layers=5, vocab_size=60)
    )
    with pytest.raises(ValueError, match="The layers of AlbertModel were not found"):
        hf.MPSHeadModel.from_encoder(shared)
    assert hf.MPSHeadModel.from_encoder(shared, trainable_layers=None) is not None
    with pytest.raises(ValueError, match="`trainable_layers` must be None or from 0 to 3"):
        hf.MPSHeadModel.from_encoder(encoder_folder)


def test_only_the_encoder_of_an_encoder_and_decoder_is_used():
    config = architectures.T5Config(
        d_model=FEATURES, d_kv=12, d_ff=32, num_layers=3, num_heads=4, vocab_size=60
    )
    model = hf.MPSHeadModel.from_encoder(architectures.T5Model(config), trainable_layers=1)
    assert type(model.encoder).__name__ == "T5Stack"
    ids = torch.randint(5, 50, (2, 6))
    assert model(ids, torch.ones_like(ids)).compressed.shape == (2, 16)


def test_wrong_arguments_are_named(encoder_folder):
    with pytest.raises(ValueError, match=f"`encoder` has {FEATURES}, `head` has 96"):
        hf.MPSHeadModel.from_encoder(encoder_folder, MPSProjectionHead(96, 32), trainable_layers=1)
    with pytest.raises(ValueError, match='`pooling` must be one of "mean", "cls"'):
        hf.MPSHeadModel.from_encoder(encoder_folder, pooling="max", trainable_layers=1)
    with pytest.raises(ValueError, match="names the head 'none'; known are"):
        hf.MPSHeadModel(hf.MPSHeadConfig(encoder_of("Bert").config, {"head": "none"}))


def test_a_model_in_16_bits_pools_and_compresses_in_32(model, tmp_path, tokens):
    model.save_pretrained(tmp_path)
    short = hf.MPSHeadModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    with torch.no_grad():
        output = short(**tokens)
    assert output.last_hidden_state.dtype == torch.bfloat16
    assert output.pooled.dtype == output.compressed.dtype == torch.float32
    assert {p.dtype for p in short.head.parameters()} == {torch.float32}
    assert_close(output.compressed, compressed(model, tokens), atol=0.1, rtol=0.1)  # 8 bits


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_is_converted_as_a_whole(encoder_folder, tokens, dtype, head):
    model = hf.MPSHeadModel.from_encoder(encoder_folder, head, trainable_layers=1).eval()
    expected = compressed(model, tokens).to(dtype)
    found = compressed(model.to(dtype), tokens)
    assert found.dtype == dtype
    assert_close(found, expected, atol=0.1, rtol=0.1)  # bfloat16 has 8 bits


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
def test_gradient_checkpointing_gives_the_same_gradients(encoder_folder, head, tokens):
    def gradients(checkpointed):
        model = hf.MPSHeadModel.from_encoder(encoder_folder, head, trainable_layers=2).train()
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        calls = []
        model.encoder.encoder.layer[2].attention.register_forward_hook(lambda *_: calls.append(1))
        model.zero_grad()
        model(**tokens).compressed.sum().backward()
        assert len(calls) == 1 + checkpointed  # once more in the backward pass
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    plain, checkpointed = gradients(False), gradients(True)
    assert plain.keys() == checkpointed.keys()
    assert any("encoder.layer.1" in name for name in plain)
    assert not any("encoder.layer.0" in name for name in plain)
    for name, expected in plain.items():
        assert_close(checkpointed[name], expected, atol=1e-5, rtol=1e-4)


def test_the_input_embeddings_are_the_encoders(model):
    assert model.get_input_embeddings() is model.encoder.embeddings.word_embeddings
    other = torch.nn.Embedding(60, FEATURES)
    model.set_input_embeddings(other)
    assert model.encoder.get_input_embeddings() is other


@pytest.mark.parametrize("mixing", [3, "full"])
def test_a_head_with_codes_survives_a_folder(mixing, encoder_folder, tokens, generator, tmp_path):
    head = MPSProjectionHead.for_bytes(FEATURES, 8, mixing=mixing, generator=generator)
    head.fit(torch.randn(50, FEATURES, generator=generator) + 0.3)
    model = hf.MPSHeadModel.from_encoder(encoder_folder, head, trainable_layers=1).eval()
    model.save_pretrained(tmp_path)
    loaded = hf.MPSHeadModel.from_pretrained(tmp_path).eval()
    z = compressed(model, tokens)
    assert_close(compressed(loaded, tokens), z)
    assert torch.equal(loaded.head.quantize(z).packed, head.quantize(z).packed)
