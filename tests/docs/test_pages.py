"""Every page and README.md: their code runs, and what they show fits and exists."""

import re

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, run_page

pytestmark = pytest.mark.slow


def pages():
    """The pages with Python, named by their paths; tests of figures run the tutorial."""
    for page in PAGES:
        if page.parent.name != "tutorials" and any(kind == "python" for kind, _ in blocks(page)):
            yield pytest.param(page, id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("page", list(pages()))
def test_the_python_of_a_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if page.stem == "postgresql":
        monkeypatch.setenv("MPSHEADS_POSTGRES", request.getfixturevalue("postgres"))
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))
    run_page(page)


def test_code_stands_in_the_pages_and_fits_them():
    for page in PAGES:
        assert "--8<--" not in page.read_text(), page
        lines = [line for _, block in blocks(page) for line in block.splitlines()]
        assert not [line for line in lines if len(line) > 80], page


def test_the_images_of_all_pages_exist():
    for page in PAGES:
        for image in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text()):
            assert (page.parent / image).is_file(), image


def test_the_tests_that_pages_name_exist():
    named = {
        name for page in PAGES for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text())
    }
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
