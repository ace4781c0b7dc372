"""Many machines: two nodes on this one, of which one is killed, give what one machine gives."""

import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pytest
from torch.testing import assert_close

from mpsheads.retrieval import Passages
from mpsheads.search import Index, encode_passages
from mpsheads.search.cluster import ShardedIndex, on_ray
from tests.search.stub import Stub
from tests.search.test_shards import contents

pytestmark = pytest.mark.slow

TEXTS = [f"text {i % 320}" for i in range(576)]  # the last ones tie with the first ones
HOW = {"bytes": 8, "rows": 96, "keep_text": True}


@dataclass
class Hanging(Stub):
    """An encoder that hangs on one machine with any shard but the first; others wait for that."""

    log: Path = Path()
    node: str = ""

    def hangs(self):
        begun = {file.name for file in self.log.glob(f"* on {self.node}")}
        return bool(begun - {f"{TEXTS[0]} on {self.node}"})

    def encode(self, texts):
        import ray

        here = ray.get_runtime_context().get_node_id()
        (self.log / f"{texts[0]} on {here}").touch()
        while texts[0] != TEXTS[0] and (here == self.node or not self.hangs()):
            time.sleep(0.05)
        return super().encode(texts)


def assert_same(found, expected):
    assert found[0] == expected[0]
    assert_close(found[1], expected[1])


@pytest.fixture
def cluster():
    """A cluster of two nodes with a CPU each, and a second one that can be killed."""
    on_ray()  # which sees to it that Ray is quiet
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}
    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "plasma_directory": "/tmp"}
    made = Cluster()
    made.add_node(**node, include_dashboard=False, _system_config=quick)
    yield made, made.add_node(**node)
    made.shutdown()


def test_a_killed_machine_costs_nothing_and_parts_are_searched_as_one_index(
    tmp_path, cluster, capfd
):
    cluster, second = cluster
    whole, output, log = (tmp_path / name for name in ("whole", "output", "log"))
    log.mkdir()

    def kill():
        while not encoder.hangs():
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)

    expected = encode_passages(Passages(TEXTS), Stub(), whole, **HOW)
    with pytest.raises(KeyboardInterrupt):
        encode_passages(Passages(TEXTS), Stub(fails_at=TEXTS[0]), output, **HOW)
    (output / "00002.parquet").write_bytes((whole / "00002.parquet").read_bytes())
    (output / ".00003.parquet.1-a.tmp").touch()
    encoder = Hanging(log=log, node=second.node_id)
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with closing(ShardedIndex(whole, address=cluster.address, parts=2)) as parts:
        one, x = Index.build(whole), Stub().encode(TEXTS[:5])
        assert len(parts) == len(one)
        for k in (10, 1000):
            assert_same(parts.search(x, k), one.search(x, k))
        over = on_ray(cluster.address)
        capfd.readouterr()
        assert encode_passages(Passages(TEXTS), encoder, output, over=over, **HOW) == expected
        killer.join(10)
        assert contents(output) == contents(whole)
        begun = sorted(f.name.split(" on")[0] for f in log.iterdir())
        first = {TEXTS[i] for i in range(0, len(TEXTS), 96)}
        assert set(begun) == first - {TEXTS[192]}  # which was there
        assert len(begun) == len(first)  # one of them was begun twice

        for where in [["575", "0", "70"], pc.match_substring(pc.field("text"), "9")]:
            assert_same(parts.search(x, 40, where=where), one.search(x, 40, where=where))
        with pytest.raises(ValueError, match="`k`"):
            parts.search(x, 0)
    assert capfd.readouterr() == ("", "")


def test_without_ray_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    line = r'^This needs the package `ray`\. Install it with: pip install "mpsheads\[ray\]"$'
    for use in (on_ray, lambda: ShardedIndex(tmp_path)):
        with pytest.raises(ImportError, match=line):
            use()


def test_an_address_where_no_ray_is_fails_at_once():
    with pytest.raises(ConnectionError, match=r"^No Ray answers at 127\.0\.0\.1:9: "):
        ShardedIndex("nowhere", address="127.0.0.1:9")
