from itertools import count

from tests.bench.rounds import Spread, cell, in_turns, number, ratio, spread


def test_sides_go_forwards_and_backwards_in_turns():
    turn = count(1)
    done = in_turns({"baseline": lambda: next(turn), "ours": lambda: next(turn)}, 3)
    assert done == [{"baseline": 1, "ours": 2}, {"baseline": 4, "ours": 3}, {"baseline": 5, "ours": 6}]


def test_a_ratio_is_of_times_of_one_round():
    # A machine that is twice as slow in one round moves no ratio.
    rounds = [{"baseline": 8.0, "ours": 2.0}, {"baseline": 16.0, "ours": 4.0}, {"baseline": 9.0, "ours": 3.0}]
    assert ratio(rounds, "baseline", "ours") == Spread(4.0, 3.0, 4.0)


def test_figures_keep_three_digits():
    assert [number(value) for value in (0.0123, 1.234, 12.34, 123.4)] == ["0.012", "1.23", "12.3", "123"]
    assert cell(spread([2.0, 1.0, 4.0])) == "2.00 [1.00, 4.00]"
    assert cell(spread([2.0])) == "2.00"
