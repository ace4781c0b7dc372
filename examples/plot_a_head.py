"""The figures of a head in Python, and one of its panels among one's own."""

# --8<-- [start:plot]
import torch
from matplotlib.figure import Figure

from mpsheads import MPSProjectionHead
from mpsheads.plotting import angle_histogram, block_entropy_on, entanglement_entropy

head = MPSProjectionHead(in_features=384, out_features=128)  # or `from_pretrained(folder)`
embeddings = torch.randn(200, 384)  # those of your texts

with torch.no_grad():
    states, z = head.state(embeddings), head(embeddings)
entanglement_entropy(states, "entanglement.pdf", kept_sites=head.kept_sites)
angle_histogram(z, "angles.pdf")

figure = Figure(figsize=(10, 5))
left, right = figure.subplots(1, 2)
block_entropy_on(states, left, kept_sites=head.kept_sites)
right.hist(z[:, 0])  # your own panel
figure.savefig("mine.pdf")
# --8<-- [end:plot]
