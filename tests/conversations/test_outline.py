"""The shape of a tree of messages."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from apps.conversations.selectors.outline import Outline

ONE, TWO, THREE, FOUR = (UUID(int=n) for n in range(1, 5))
TREE = Outline([(ONE, None), (TWO, ONE), (THREE, ONE), (FOUR, TWO)])


def test_branches_siblings_and_leaves() -> None:
    assert TREE.branch(FOUR) == [ONE, TWO, FOUR]
    assert TREE.branch(None) == TREE.branch(UUID(int=9)) == []
    assert TREE.siblings(TWO) == [TWO, THREE]
    assert TREE.siblings(ONE) == [ONE]
    assert (TREE.newest_leaf(None), TREE.newest_leaf(TWO)) == (THREE, FOUR)
    assert Outline([]).newest_leaf(None) is None
    assert set(TREE.subtree(TWO)) == {TWO, FOUR}
    assert (FOUR in TREE, UUID(int=9) in TREE) == (True, False)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
def test_every_message_lies_on_its_own_branch_and_in_its_roots_subtree(choices: list[int]) -> None:
    ids = [UUID(int=n + 1) for n in range(len(choices))]
    links = [(own, ids[choice % n] if n else None) for n, (own, choice) in enumerate(zip(ids, choices, strict=True))]
    tree = Outline(links)
    assert set(tree.subtree(ids[0])) == set(ids)
    for own, parent in links:
        branch = tree.branch(own)
        assert (branch[0], branch[-1]) == (ids[0], own)
        assert branch[:-1] == tree.branch(parent)
        assert own in tree.siblings(own)
