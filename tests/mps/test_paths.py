import opt_einsum
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads.mps.paths import _plan, contraction_path, einsum

TRANSFER = "bxy,bxpu,bypv->buv"
CASES = [
    TRANSFER,
    "bxy,bxpu,byqv,buv->bpq",
    "bij,bjk,bkl->bil",
    "ij,jk->ki",
    "a,b->ab",
    "ij,ij->",
    "bij,bkl->bljik",
    "bii->b",
    "ij->j",
    "iij,jk->ik",
    "ij,k->i",
    "bij,bjk,bk,b->i",
]


def operands_of(subscripts, generator, dtype=torch.float64, sizes=(2, 3, 4, 5)):
    terms = subscripts.split("->")[0].split(",")
    letters = sorted(set("".join(terms)))
    length = {letter: sizes[i % len(sizes)] for i, letter in enumerate(letters)}
    return [
        torch.randn([length[x] for x in term], dtype=dtype, generator=generator) for term in terms
    ]


@given(
    sizes=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
    subscripts=st.sampled_from(CASES),
)
def test_einsum_equals_torchs_for_any_lengths_one_included(sizes, seed, subscripts):
    generator = torch.Generator().manual_seed(seed)
    operands = operands_of(subscripts, generator, sizes=sizes)
    assert_close(einsum(subscripts, *operands), torch.einsum(subscripts, *operands))


@pytest.mark.slow
def test_a_contraction_is_differentiated_mapped_and_compiled(generator):
    operands = [x.requires_grad_() for x in operands_of(TRANSFER, generator)]
    assert torch.autograd.gradcheck(lambda *x: einsum(TRANSFER, *x), operands)
    expected = einsum(TRANSFER, *operands)
    mapped = torch.func.vmap(lambda *x: einsum("xy,xpu,ypv->uv", *x))(*operands)
    assert_close(mapped, expected)
    torch.compiler.reset()
    compiled = torch.compile(lambda *x: einsum(TRANSFER, *x), fullgraph=True, backend="aot_eager")
    for batch in (2, 1, 2):  # the second length makes the batch symbolic
        some = [x.detach()[:batch] for x in operands]
        assert_close(compiled(*some), expected.detach()[:batch])


@pytest.mark.parametrize("chi", [2, 4, 16])
def test_the_path_of_a_transfer_step_costs_the_cube_of_the_bond(chi):
    path = contraction_path(TRANSFER, (7, chi, chi), (7, chi, 2, chi), (7, chi, 2, chi))
    assert path.flops == 2 * 2 * 7 * 2 * chi**3
    assert path.largest_intermediate == 7 * 2 * chi**2
    assert len(path.steps) == 2
    _, info = opt_einsum.contract_path(
        TRANSFER, (7, chi, chi), (7, chi, 2, chi), (7, chi, 2, chi), shapes=True
    )
    assert path.flops == info.opt_cost


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("bij,bjk->bik", [(1, 2, 2), (3, 2, 2)], "Axes named 'b' .* must have one length, got 1"),
        ("ij,jk->ik", [(2, 3)], r"must name all axes of operands of the shapes \(\(2, 3\),\)"),
        ("ij,jk", [(2, 3), (3, 2)], "and the result"),
        ("...j,jk->...k", [(2, 3), (3, 2)], r"without '\.\.\.'"),
        ("ij,jk->ik", [(2, 3), (3, 2, 1)], "must name all axes"),
    ],
)
def test_operands_that_do_not_fit_are_refused(subscripts, shapes, message):
    with pytest.raises(ValueError, match=message):
        einsum(subscripts, *[torch.zeros(shape) for shape in shapes])
    with pytest.raises(ValueError, match=message):
        contraction_path(subscripts, *shapes)


def test_plans_are_constants_for_the_compiler_as_torch_marks_them():
    marked = torch.compiler.assume_constant_result(lambda: None)
    assert vars(marked).items() <= vars(_plan).items()
