"""The API page of these modules leaves out no public name."""

from pathlib import Path

from mpsheads import sentence_transformers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api" / "integrations.md"


def test_every_public_name_is_on_the_page():
    page = PAGE.read_text()
    for name in sentence_transformers.__all__:
        assert f'"{name}"' in page
    for module in ("mpsheads.load", "mpsheads.transformers", "mpsheads.mteb"):
        assert f"::: {module}\n" in page
