from mpsheads.heads.register import deal


def test_registers_deal_every_nth_feature_and_keep_the_first():
    register = deal(8, 3, "registers", "angle")
    assert register.blocks == ((6, 3, 0), (7, 4, 1), (5, 2))
    assert register.sites == [range(3), range(3, 6), range(6, 8)]
    assert register.kept == [2, 5, 7]


def test_neighbours_are_cut_in_their_order_and_differ_by_one():
    assert deal(8, 3, "neighbours", "angle").blocks == ((0, 1, 2), (3, 4, 5), (6, 7))
    assert deal(5, 2, [4, 2, 0, 1, 3], "angle").blocks == ((4, 2, 0), (1, 3))


def test_entangled_blocks_have_equal_qubits():
    register = deal(7, 3, "neighbours", "amplitude")
    assert [len(block) for block in register.blocks] == [3, 2, 2]
    assert register.sites == [range(2), range(2, 4), range(4, 6)]
