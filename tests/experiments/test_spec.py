"""What an experiment may say, and the runs that follow from it."""

import pytest
import torch

from mpsheads.experiments import (
    Experiment,
    Method,
    experiment_names,
    find_experiments,
    key_of,
    read_experiment,
    select,
)
from mpsheads.experiments.quantise import fewest_vectors, fit_quantiser, quantiser_sizes
from mpsheads.experiments.trials import check_heads, encoder_labels, name_of, trials_of

NAMES = ["similarity", "compression", "frozen", "data-size", "epochs"]
METHODS = 'methods = [{ head = "mps" }]\n'


@pytest.fixture
def read(tmp_path):
    def from_text(text, name="own-one.toml"):
        (tmp_path / name).write_text(text)
        return read_experiment(tmp_path / name)

    return from_text


@pytest.mark.parametrize("features", [384, 768])
def test_every_experiment_that_comes_along_can_be_planned(features):
    assert set(NAMES) <= set(experiment_names())
    experiments = find_experiments(["all", "frozen"])
    assert len(experiments) == len(experiment_names())
    for made in experiments:
        runs = trials_of(made, "encoder", features)
        keys = [key_of(line) for run in runs for line in run.results]
        assert len(set(keys)) == len(keys) > 0
        for run in runs:
            assert {line["features"] for line in run.results} == {features}
            assert run.size == features or run.method.head != "uncompressed"


@pytest.mark.slow
def test_every_head_that_comes_along_can_be_made():
    for made in find_experiments(["all"]):
        check_heads(trials_of(made, "encoder", 384), 384)


def test_the_defaults_are_those_of_the_paper(read):
    for name in NAMES:
        made = find_experiments([name])[0]
        assert made.seeds == tuple(range(20))
        assert made.train == "msmarco-passage/train/triples-small"
        config = made.config(next(m for m in made.methods if not m.training), 7)
        assert (config.loss, config.hard_negatives, config.batch_size) == ("paper", 5, 64)
        assert (config.epochs, config.seed) == (10 if name == "data-size" else 5, 7)
    compression = find_experiments(["compression"])[0]
    assert (compression.methods[1].trained, compression.methods[1].layers) == ("layers", 4)
    assert compression.sizes == {768: (384, 256, 128, 64), 384: (192, 128, 64, 32)}


def test_a_file_is_read_with_its_defaults(read):
    made = read(f"seeds = 3\nsizes = [16, 8]\nfractions = [0.5, 100]\n{METHODS}")
    assert made.name == "own one"
    assert made.methods == (Method("mps", "mps", trained="head"),)
    assert made.seeds == (0, 1, 2)
    assert made.sizes_of(made.methods[0], 48) == (16, 8)
    runs = trials_of(made, "tiny", 48)
    assert [(run.size, run.seed, run.fraction) for run in runs[:4]] == [
        *((16, 0, 0.5), (16, 1, 0.5), (16, 2, 0.5), (8, 0, 0.5))
    ]
    assert len(runs) == 12


def test_other_keys_of_a_method_are_settings_of_its_head(read):
    text = '[[methods]]\nlabel = "flat"\nhead = "mps"\ndepth = 1\ntraining = { epochs = 9 }\n'
    made = read(f"sizes = [8]\ntraining = {{ epochs = 2 }}\n{text}")
    assert dict(made.methods[0].settings) == {"depth": 1}
    assert made.config(made.methods[0], 0).epochs == 9
    line = trials_of(made, "tiny", 48)[0].results[0]
    assert line["settings"] == {"depth": 1, "epochs": 9}


def test_what_is_not_random_has_one_seed_and_one_fraction(read):
    methods = 'methods = [{ head = "uncompressed" }, { head = "pca" }, { head = "mps" }]\n'
    made = read(f"sizes = [16]\nfractions = [0.5, 1.0]\nseeds = [4, 7]\n{methods}")
    runs = trials_of(made, "tiny", 48)
    assert [(run.method.label, run.size, run.seed) for run in runs[:2]] == [
        *(("uncompressed", 48, 0), ("pca", 16, 0))
    ]
    assert [(run.seed, run.fraction) for run in runs[2:]] == [
        *((4, 0.5), (7, 0.5), (4, 1.0), (7, 1.0))
    ]


def test_each_epoch_has_a_result_of_its_own(read):
    made = read(f"sizes = [16]\nseeds = 1\neach_epoch = true\ntraining.epochs = 3\n{METHODS}")
    (run,) = trials_of(made, "tiny", 48)
    assert sorted({line["epoch"] for line in run.results}) == [1, 2, 3]


def test_triples_are_part_of_what_tells_results_apart(read):
    methods = 'methods = [{ head = "uncompressed" }, { head = "pca" }, { head = "mps" }]\n'
    made = read(f"sizes = [16]\nseeds = 1\n{methods}")
    other = made.changed(triples="folder/mined.tsv", max_triples=10)
    before, after = (
        [run.results[0]["settings"] for run in trials_of(e, "tiny", 48)] for e in (made, other)
    )
    added = {"triples": "mined.tsv", "max_triples": 10}
    assert after == [before[0], {**before[1], **added}, {**before[2], **added}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods = [", "is not TOML"),
        (f"seeds = 0\n{METHODS}", "`seeds`: .* at least 1 item"),
        (f"folds = 3\n{METHODS}", "`folds`: unexpected keyword argument"),
        ("seeds = 3\n", "`methods`: (field|missing) required"),
        ("methods = 3\n", "`methods`: input should be a valid tuple, got 3"),
        ("[[methods]]\nlabel = 'x'\n", "`methods.0.head`: .*required"),
        ("[[methods]]\nhead = 'mpz'\n", "`methods.0.head`: input should be 'uncompressed', 'mps'"),
        ("[[methods]]\nhead = 'pca'\ndepth = 1\n", "has the setting `depth`, but .* takes none"),
        ("[[methods]]\nhead = 'pca'\ntrained = 'layers'\n", "`trained` cannot be 'layers'"),
        ("[[methods]]\nhead = 'pca'\nfit = 'pairs'\n", "`fit` cannot be 'pairs' for .* pca is not"),
        ("[[methods]]\nhead = 'mps'\nsimilarity = 'fidelity'\n", "`similarity` is for uncompr"),
        ("methods = [{ head = 'mps' }, { head = 'mps' }]\n", r"holds 'mps \(head\)' twice"),
        (f"seeds = [1, 2, 1]\n{METHODS}", "`seeds`: holds 1 twice, got"),
        (f"seeds = [0, -1]\n{METHODS}", "`seeds.1`: .* greater than or equal to 0, got -1"),
        (f"seeds = '3'\n{METHODS}", "`seeds`: input should be a valid tuple, got '3'"),
        (f"seeds = [true]\n{METHODS}", "`seeds.0`: input should be a valid integer, got True"),
        (f"encoders = 'minilm'\n{METHODS}", "`encoders`: .* valid tuple, got 'minilm'"),
        (f"sizes = 16\n{METHODS}", "`sizes.*`: .* valid tuple, got 16"),
        (f"sizes = [16, 0]\n{METHODS}", r"`sizes\.1`: .* greater than or equal to 1, got 0"),
        (f"sizes = [16, 16]\n{METHODS}", "`sizes.*`: holds 16 twice"),
        ("methods = [{ head = 'mps', sizes = [8, 8] }]\n", "`methods.*sizes.*`: holds 8 twice"),
        (f"sizes.wide = [16]\n{METHODS}", "valid integer.*got 'wide'"),
        (f"bits = [3]\n{METHODS}", "`bits.0`: input should be 32, 8, 4, 2 or 1, got 3"),
        (f"fractions = [1.5]\n{METHODS}", r"parts in \(0, 1\] or whole numbers .* got 1.5"),
        (f"fractions = [0.5, 0.5]\n{METHODS}", "`fractions`: holds 0.5 twice"),
        (f"each_epoch = 1\n{METHODS}", "`each_epoch`: input should be a valid boolean, got 1"),
        (f"select = 'worst'\n{METHODS}", "`select`: input should be 'last' or 'best', got 'worst'"),
        (f"measure = 'nDGC@10'\n{METHODS}", "'nDGC@10'"),
        (f"max_triples = 0\n{METHODS}", "`max_triples`: .* greater than or equal to 1, got 0"),
        (f"training.epoch = 3\n{METHODS}", "has no setting 'epoch'; there are batch_size"),
        (f"training.loss = 'none'\n{METHODS}", "`loss` must be one of"),
        (f"training.epochs = 0.5\n{METHODS}", "`epochs` must be an integer, got 0.5"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(read, text, message):
    with pytest.raises((ValueError, TypeError), match=rf"own-one\.toml.*{message}"):
        read(text)


def test_sizes_and_settings_that_a_head_does_not_take_are_told_before_anything_runs():
    def plan(method, *sizes):
        runs = trials_of(Experiment("x", (method,), sizes=sizes), "tiny", 48)
        check_heads(runs, 48)
        return runs

    with pytest.raises(ValueError, match="`sizes` holds 49, but the embeddings have 48"):
        plan(Method("mps", "mps"), 16, 49)
    with pytest.raises(ValueError, match=r"'old' at size 20: .* must divide"):
        plan(Method("old", "reference"), 20)
    with pytest.raises(ValueError, match="'flat' at size 16: `depth`"):
        plan(Method("flat", "mps", settings={"depth": 0}), 16)
    assert plan(Method("not fitted", "mps", settings={"fitted": False}), 16)
    with pytest.raises(TypeError, match="'odd' at size 16: `fitted` must be true or false, got 1"):
        plan(Method("odd", "mps", settings={"fitted": 1}), 16)
    with pytest.raises(ValueError, match="'odd' at size 16: `start` must be one of"):
        plan(Method("odd", "dense", settings={"start": "zero"}), 16)
    by_width = Experiment("x", (Method("mps", "mps"),))
    with pytest.raises(ValueError, match=r"`sizes` of 'x' holds none for embeddings of 48 .*768"):
        trials_of(by_width, "tiny", 48)


def test_the_sizes_of_a_quantiser_are_bytes_that_divide_the_features():
    made = Experiment("x", (Method("pq", "pq"),), sizes=(16, 8), bits=(32, 8, 4, 1))
    runs = trials_of(made, "tiny", 48)
    assert list(dict.fromkeys(run.size for run in runs)) == [16, 8, 4, 2, 1]
    assert all(line["bytes"] == run.size for run in runs for line in run.results)


def test_experiments_are_found_by_name_and_by_file(tmp_path, read):
    read(METHODS)
    found = find_experiments(["epochs", str(tmp_path / "own-one.toml"), "epochs"])
    assert [made.name for made in found] == ["epochs", "own one"]
    read(f'name = "epochs"\n{METHODS}', "again.toml")
    with pytest.raises(ValueError, match=r"epochs\.toml and .*again\.toml are both named 'epochs'"):
        find_experiments(["epochs", str(tmp_path / "again.toml")])
    with pytest.raises(FileNotFoundError, match=r"no experiment 'epoch'; there are .*epochs"):
        find_experiments(["epoch"])
    with pytest.raises(FileNotFoundError, match=r"no experiment .*none\.toml"):
        find_experiments([str(tmp_path / "none.toml")])


def test_what_is_asked_for_changes_experiments():
    experiments = find_experiments(["frozen", "similarity"])
    (frozen,) = select(experiments, methods=["mps", "pca"], seeds=2, tests=["x"])
    assert [method.label for method in frozen.methods] == ["mps", "pca"]
    assert (frozen.seeds, frozen.tests) == ((0, 1), ("x",))
    only = select(find_experiments(["compression"]), trained="head")
    assert {method.trained for method in only[0].methods} == {"nothing", "head"}
    with pytest.raises(
        ValueError, match="`method` 'mpz' is unknown; there are uncompressed; dense"
    ):
        select(experiments, methods=["mpz"])
    with pytest.raises(ValueError, match="leave nothing to run"):
        select(experiments[:1], methods=["mps, distilled"], trained="layers")
    with pytest.raises(ValueError, match=r"frozen: `max_triples`: .* greater .*, got 0\."):
        select(experiments, max_triples=0)


def test_two_encoders_may_not_be_called_the_same():
    with pytest.raises(ValueError, match="a/tiny and b/tiny are both called 'tiny'"):
        encoder_labels(["a/tiny", "b/tiny"])


@pytest.mark.parametrize("other", ["b/mini:test", "mini:test@judged"])
def test_two_tests_may_not_be_called_the_same(read, other):
    plan = read(METHODS + f'tests = ["/a/mini:test", "/{other}"]\n')
    with pytest.raises(ValueError, match=f"/a/mini:test and /{other} are both called 'mini/test'"):
        trials_of(plan, "minilm", 384)


def test_names_leave_out_where_a_collection_lies(tmp_path):
    (tmp_path / "mini").mkdir()
    assert name_of(f"{tmp_path}/mini:dl19") == "mini/dl19"
    assert name_of(f"{tmp_path}/mini:dl19@all") == "mini/dl19 (all)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "size", "least"),
    [
        ("pq", 8, 0.5),
        ("opq", 8, 0.6),
        ("rq", 4, 0.5),
        ("lsq", 4, 0.5),
        ("rabitq", 12, 0.7),
        ("itq", 4, 0.5),
        ("turboquant", 8, 0.9),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 100, 300])
def test_quantisers_refuse_too_few_vectors_and_keep_most_of_enough(
    kind, size, least, count, generator
):
    pytest.importorskip("faiss")
    x = torch.randn(count, 32, generator=generator) * torch.linspace(2, 0.2, 32)
    if count < fewest_vectors(kind, 32):
        with pytest.raises(ValueError, match=f"{kind} needs .* got {count}"):
            fit_quantiser(kind, size, 0, x)
        return
    assert quantiser_sizes(kind, 32, range(1, 33)).count(size) == 1
    reconstruct, parameters = fit_quantiser(kind, size, 0, x)
    assert parameters >= 0
    left = torch.cosine_similarity(reconstruct(x), x)
    assert left.isfinite().all()
    assert count < 300 or left.mean() > least
