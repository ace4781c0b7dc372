import sysconfig
import textwrap

import pytest

from mpsheads.retrieval import docstring_collection

SPLITS = ("train", "dev", "test")
STDLIB = ["asyncio", "email", "http", "logging", "unittest", "urllib", "tkinter", "xml", "typing"]
REST = " ".join(
    f"The {thing} of a river bends and carries sand along its quiet bank." for thing in "abc"
)


@pytest.fixture(scope="module")
def real():
    """The docstrings of a part of the standard library."""
    return docstring_collection(STDLIB)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """An installed library that holds 120 usable functions; tests add files to it."""
    site = tmp_path / "site"
    (site / "rivers").mkdir(parents=True)
    (site / "rivers" / "__init__.py").touch()
    functions = [
        f'def flow_{w}():\n    """Say how {w} flows down.\n\n    {w} {REST}"""\n'
        for w in map(_word, range(120))
    ]
    (site / "rivers" / "flows.py").write_text("\n".join(functions))
    paths = {"stdlib": str(tmp_path / "none"), "purelib": str(site), "platlib": str(site)}
    monkeypatch.setattr(sysconfig, "get_paths", lambda: paths)
    return site


def _word(number):
    return "w" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03}")


def _write(library, path, source):
    file = library / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(source))


def _documents(**options):
    return {k: v for c in docstring_collection(**options).values() for k, v in c.documents.items()}


@pytest.mark.slow
def test_a_real_collection_pairs_each_summary_with_the_rest_of_its_docstring(real):
    assert sum(len(real[split].documents) for split in SPLITS) > 200
    for split in SPLITS:
        collection = real[split]
        assert collection.name == f"docstrings/{split}"
        assert set(collection.queries) == {f"q:{name}" for name in collection.documents}
        assert collection.qrels == {f"q:{name}": {name: 1} for name in collection.documents}


def test_splits_share_no_document_and_no_query(real):
    for texts in ("documents", "queries"):
        values = [text for split in SPLITS for text in getattr(real[split], texts).values()]
        assert len(set(values)) == len(values)
    assert len(real["train"].documents) > len(real["test"].documents) > len(real["dev"].documents)


def test_a_document_holds_neither_the_name_of_its_object_nor_the_summary(real):
    for split in SPLITS:
        for name, document in real[split].documents.items():
            words = {word.strip(".,:;()'\"").lower() for word in document.split()}
            assert not words & set(name.lower().split("."))
            assert real[split].queries[f"q:{name}"] not in document


@pytest.mark.slow
def test_the_collection_is_the_same_again_and_the_seed_changes_it(real):
    assert docstring_collection(STDLIB) == real
    other = docstring_collection(STDLIB, seed=1)
    assert set(other["test"].documents) != set(real["test"].documents)


def test_a_package_more_moves_no_text_to_another_split(library):
    before = docstring_collection()
    _write(library, "brooks.py", f'"""Say how a brook runs.\n\n{REST} It ends in the sea."""')
    after = docstring_collection()
    for split in SPLITS:
        assert set(before[split].documents) <= set(after[split].documents)
    assert sum(len(after[split].documents) for split in SPLITS) == 121


def test_limits_bound_the_pairs(library):
    assert len(_documents()) == 120
    assert len(_documents(limit=110)) == 110
    assert set(_documents(limit=110)) < set(_documents())


def test_names_doctests_markup_and_the_repeated_summary_are_taken_out(library):
    _write(
        library,
        "lakes/deep.py",
        f'''
        class Basin:
            """Hold water until it is needed.

            Hold water until it is needed. A `Basin` of lakes.deep is :class:`~old.Tub` like.
            {REST}

            Notes
            -----
            >>> Basin()
            <Basin>
            """
        ''',
    )
    document = _documents()["lakes.deep.Basin"]
    assert document == f"A of is old.Tub like. {REST} Notes"


@pytest.mark.parametrize(
    "source",
    [
        'def _hidden():\n    """Say what nobody sees.\n\n    {rest}"""',
        'def short():\n    """Say very little here.\n\n    Little."""',
        'def terse():\n    """Terse.\n\n    {rest}"""',
        'def shown():\n    """Show how it works.\n\n    >>> {rest}\n    """',
        'def signed():\n    """signed(rivers) -> the number of their waters\n\n    {rest}"""',
        'def table():\n    """Give a table of numbers.\n\n    %s"""' % ("1 2 3 " * 30),
        'def again():\n    """Say how waaa flows down.\n\n    Other {rest}"""',
        'def copied():\n    """Say what was said.\n\n    waab {rest}"""',
        "def broken(:\n",
    ],
)
def test_what_is_of_no_use_is_left_out(library, source):
    _write(library, "zebra.py", source.replace("{rest}", REST))
    assert not [name for name in _documents() if name.startswith("zebra")]


@pytest.mark.parametrize("folder", ["tests", "_vendor", "extern", "_private"])
def test_tests_and_vendored_copies_are_left_out(library, folder):
    source = f'"""Say how a brook runs.\n\n{REST} It ends in the sea."""'
    _write(library, f"rivers/{folder}/brook.py", source)
    assert len(_documents()) == 120
    _write(library, "rivers/brook.py", source)
    assert len(_documents()) == 121


def test_installed_modules_are_read_but_not_imported(library):
    source = f'"""Say how a brook runs.\n\n{REST} So it ends."""\nraise SystemExit("imported")'
    _write(library, "brook.py", source)
    assert "brook" in _documents()


def test_too_few_docstrings_and_unknown_packages_are_errors(library):
    _write(library, "brook.py", "x = 1")
    with pytest.raises(ValueError, match=r"Only 0 usable docstrings .* 100 are needed"):
        docstring_collection(["brook"])
    with pytest.raises(ValueError, match=r"`packages` names nosuch"):
        docstring_collection(["rivers", "nosuch"])
    with pytest.raises(ValueError, match=r"`limit` must be at least 1, got 0"):
        docstring_collection(limit=0)
