"""Compress three texts and search them. It needs `pip install -e ".[demo]"`."""

# --8<-- [start:quickstart]
from mpsheads import MPSProjectionHead
from mpsheads.retrieval import Encoder

documents = ["Cats purr when they are content.", "Rain is water that falls.", "Bread is baked."]
encoder = Encoder("minilm")  # any model of the Hugging Face hub, or a folder
head = MPSProjectionHead(in_features=384, out_features=128, bond_dim=4)
zd = head(encoder.encode(documents))  # (3, 128): angles in [0, pi]
zq = head(encoder.encode(["Why do cats purr?"], kind="query"))  # (1, 128)
scores = head.similarity(zq, zd)  # (1, 3): log-fidelity, higher is closer
print(documents[scores.argmax()])
head.save_pretrained("my-head")  # and MPSProjectionHead.from_pretrained("my-head")
# --8<-- [end:quickstart]
