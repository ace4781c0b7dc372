"""Compress the search of your own collection: encode it, train a head, compare before and after.

Without a folder, a small collection of docstrings takes its place. The trained head is left in the
folder `trained-head`. It needs `pip install -e ".[demo]"`.
"""

import argparse


def main(folder: str | None, model: str) -> None:
    """Print bytes a vector and nDCG@10 before and after."""
    from mpsheads import make_head
    from mpsheads.retrieval import Encoder, docstring_collection, embed, load_collection
    from mpsheads.training import TrainingConfig, train, training_data

    splits = ("train", "test")
    if folder is None:
        parts = docstring_collection(["torch", "numpy"], limit=200)
    else:
        parts = {split: load_collection(folder, split) for split in splits}
    encoder = Encoder(model)
    training, test = (embed(parts[split], encoder) for split in splits)

    head = make_head("mps", training.features, documents=training.documents)
    data = training_data(training)
    config = TrainingConfig(epochs=5, batch_size=128)
    head = train(head, data, config, "trained-head", progress=False).model

    for what, size in ((None, 4 * test.features), (head, head.bytes_per_vector)):
        scores = test.scores("nDCG@10", what).values()
        print(f"{size} bytes a vector: nDCG@10 {sum(scores) / len(scores):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", help="a BEIR folder with the splits train and test")
    parser.add_argument("--encoder", default="minilm", help="a name, a folder, or one of the hub")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.encoder)
