"""Matching of rows of any kind: pairs, parts of a sum, and where two records part."""

from hypothesis import given
from hypothesis import strategies as st

from rooney.performance.pairs import differing, first_difference, nearest_pairs, parts_of

ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50)), max_size=12)
NUMBERS = st.lists(st.integers(0, 3), max_size=8)


@given(a=ROWS, b=ROWS)
def test_pairs_have_one_key_and_times_within_reach_and_none_is_left_that_could_be_one(
    a: list[tuple[str, int]], b: list[tuple[str, int]]
) -> None:
    pairs = nearest_pairs(a, b, lambda row: row[0], lambda row: row[1], 5)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(a[i][0] == b[j][0] and abs(a[i][1] - b[j][1]) <= 5 for i, j in pairs)
    left_a = [a[i] for i in set(range(len(a))) - {i for i, _ in pairs}]
    left_b = [b[j] for j in set(range(len(b))) - {j for _, j in pairs}]
    assert not any(x[0] == y[0] and abs(x[1] - y[1]) <= 5 for x in left_a for y in left_b)


def test_what_happened_at_the_same_time_is_never_given_to_a_neighbour() -> None:
    a, b = [("a", 9), ("a", 10)], [("a", 10)]
    assert nearest_pairs(a, b, lambda row: row[0], lambda row: row[1], 5) == [(1, 0)]


@given(total=st.integers(1, 6), sizes=st.lists(st.integers(1, 4), max_size=8))
def test_the_parts_of_a_sum_are_the_earliest_that_do_not_exceed_it(total: int, sizes: list[int]) -> None:
    parts = parts_of(total, enumerate(sizes), lambda part: part[1])
    taken: list[tuple[int, int]] = []
    for part in enumerate(sizes):
        if sum(size for _, size in (*taken, part)) <= total:
            taken.append(part)
    assert parts == (tuple(taken) if sum(size for _, size in taken) == total else None)


@given(a=NUMBERS, b=NUMBERS)
def test_the_first_difference_is_where_the_equal_beginning_ends(a: list[int], b: list[int]) -> None:
    parted = first_difference(a, b)
    assert (parted is None) == (a == b)
    if parted is not None:
        at, x, y = parted
        assert a[:at] == b[:at] and x != y
        assert (x, y) == (a[at] if at < len(a) else None, b[at] if at < len(b) else None)


def test_a_key_that_one_side_lacks_differs() -> None:
    assert differing({"x": 1, "y": 2, "z": 3}, {"y": 2, "z": 4, "w": 5}) == ["x", "z", "w"]
