"""Compress three texts and search them. It needs `pip install -e ".[demo]"`."""

import argparse


def main() -> None:
    """Search, print the best document, and save the head in the folder `my-head`."""
    from mpsheads import MPSProjectionHead
    from mpsheads.retrieval import Encoder

    documents = ["Cats purr when content.", "Rain is water.", "Bread is baked."]
    encoder = Encoder("minilm")
    head = MPSProjectionHead(in_features=384, out_features=128)
    zd = head(encoder.encode(documents))
    zq = head(encoder.encode(["Why do cats purr?"], kind="query"))
    print(documents[head.similarity(zq, zd).argmax()])
    head.save_pretrained("my-head")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
