"""Result lines with known differences, from a seeded generator."""

import zlib

import numpy as np

TESTS = {"mini/a": 30, "mini/b": 45}
FEATURES = 48


def scores(method, seed, test, n, effect, noise):
    """Scores that differ from the other methods' by `effect` on average over a test's queries."""
    queries = np.random.default_rng(zlib.crc32(test.encode())).uniform(0.3, 0.7, n)
    own = np.random.default_rng(zlib.crc32(f"{method} {test}".encode())).normal(0, noise, n)
    by_seed = np.random.default_rng(zlib.crc32(f"{method} {seed} {test}".encode()))
    found = queries + effect + own - own.mean() + by_seed.normal(0, 0.004)
    return {f"q{place}": float(score) for place, score in enumerate(found)}


def results(
    method, effect=0.0, *, size=16, seeds=3, tests=TESTS, noise=0.02, epochs=(2,), **fields
):
    """Lines of one method: every seed, test and epoch."""
    return [
        {
            "format_version": 1,
            "experiment": "compression",
            "encoder": "tiny",
            "train": "pairs",
            "trained": "head",
            "method": method,
            "settings": {},
            "size": size,
            "bits": 32,
            "seed": seed,
            "fraction": 1.0,
            "epoch": epoch,
            "test": test,
            "measure": "nDCG@10",
            "scores": scores(f"{method} {size}", seed, test, n, effect, noise),
            "features": FEATURES,
            "parameters": 100,
            "bytes": 4 * size,
            "seconds": 1.0,
            **fields,
        }
        for seed in range(seeds)
        for test, n in tests.items()
        for epoch in epochs
    ]


def uncompressed(effect=0.05, **fields):
    """Lines of the encoder's own vectors."""
    return results(
        "uncompressed", effect, size=FEATURES, seeds=1, **({"trained": "nothing"} | fields)
    )
