"""The paths that the library's contractions take, and what they cost."""

# --8<-- [start:paths]
from mpsheads.mps.paths import contraction_path

batch, bond, phys = 64, 4, 2
site = (batch, bond, phys, bond)
env = (batch, bond, bond)

for name, subscripts, shapes in [
    ("one site of an overlap", "bxy,bxpu,bypv->buv", (env, site, site)),
    ("one-site density matrix", "bxy,bxpu,byqv,buv->bpq", (env, site, site, env)),
    ("two sites merged", "blpm,bmqr->blpqr", (site, site)),
    ("an MPO's site in between", "bxwy,bxpu,wqpz,byqv->buzv",
     ((batch, bond, 3, bond), site, (3, phys, phys, 3), site)),
]:  # fmt: skip
    path = contraction_path(subscripts, *shapes)
    print(f"{name}: {subscripts}")
    print(f"  steps: {', then '.join(path.steps)}")
    print(f"  FLOPs: {path.flops:,}; largest intermediate: {path.largest_intermediate:,} numbers")
# --8<-- [end:paths]
