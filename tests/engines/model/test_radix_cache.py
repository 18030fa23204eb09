"""SGLang's radix tree: matching, splitting, locking and whole-leaf eviction."""

from hypothesis import given
from hypothesis import strategies as st

from paceline.engines.model.radix_cache import RadixCache
from paceline.engines.model.tape import encode


def length(tree: RadixCache, *ids: int) -> int:
    """Tokens of `ids` that the tree holds."""
    return tree.match(encode(ids), len(ids))[1]


def insert(tree: RadixCache, *ids: int) -> None:
    """Put all of `ids` into the tree."""
    tree.insert(encode(ids), len(ids))


def test_match_ends_where_prompts_part() -> None:
    """A match goes token by token, into the middle of an edge."""
    tree = RadixCache()
    insert(tree, 1, 2, 3, 4)
    assert length(tree, 1, 2, 9) == 2
    assert length(tree, 1, 2, 3, 4, 5) == 4
    assert length(tree, 9) == 0


def test_common_tokens_are_kept_once() -> None:
    """Two prompts with a common prefix share its tokens."""
    tree = RadixCache()
    insert(tree, 1, 2, 3, 4)
    insert(tree, 1, 2, 8, 9)
    assert (tree.tokens, tree.evictable) == (6, 6)


def test_eviction_drops_the_oldest_leaf_whole() -> None:
    """One missing token costs the whole leaf that was used longest ago."""
    tree = RadixCache()
    insert(tree, 1, 2, 3, 4)
    insert(tree, 5, 6)
    tree.evict(1)
    assert (length(tree, 1, 2, 3, 4), length(tree, 5, 6), tree.evicted) == (0, 2, 4)


def test_a_match_renews() -> None:
    """Matching a prefix makes it the newest."""
    tree = RadixCache()
    insert(tree, 1, 2)
    insert(tree, 5, 6)
    length(tree, 1, 2)
    tree.evict(1)
    assert (length(tree, 1, 2), length(tree, 5, 6)) == (2, 0)


def test_what_is_split_off_counts_as_used() -> None:
    """A match that ends inside an edge renews the rest of the edge too."""
    tree = RadixCache()
    insert(tree, 1, 2, 3)
    insert(tree, 5, 6)
    length(tree, 1, 9)
    tree.evict(1)
    assert (length(tree, 1, 2, 3), length(tree, 5, 6)) == (3, 0)


def test_leaves_go_before_what_they_hang_on() -> None:
    """A shared prefix goes only after all that extends it."""
    tree = RadixCache()
    insert(tree, 1, 2, 3)
    insert(tree, 1, 2, 4)
    tree.evict(2)
    assert length(tree, 1, 2) == 2
    tree.evict(1)
    assert tree.tokens == 0


def test_locked_paths_stay() -> None:
    """What a running request uses is neither evictable nor evicted, also after a split."""
    tree = RadixCache()
    insert(tree, 1, 2, 3, 4)
    node, _ = tree.match(encode([1, 2, 3, 4]), 4)
    tree.lock(node)
    insert(tree, 1, 2, 9)
    assert tree.evictable == 1
    tree.evict(100)
    assert (length(tree, 1, 2, 3, 4), tree.tokens) == (4, 4)
    tree.unlock(node)
    assert tree.evictable == 4


def test_shared_tokens_are_counted() -> None:
    """Every lock on a token but its first adds one, until it is undone; a split changes nothing."""
    tree = RadixCache()
    insert(tree, 1, 2, 3, 4)
    whole = tree.match(encode([1, 2, 3, 4]), 4)[0]
    tree.lock(whole)
    tree.lock(whole)
    part = tree.match(encode([1, 2, 9]), 3)[0]
    tree.lock(part)
    assert tree.shared == 4 + 2
    tree.unlock(whole)
    assert tree.shared == 2
    tree.unlock(whole)
    tree.unlock(part)
    assert tree.shared == 0


def test_pages_are_matched_whole() -> None:
    """With pages of two tokens, only whole pages are kept and found."""
    tree = RadixCache(page_size=2)
    insert(tree, 1, 2, 3, 4, 5)
    assert tree.tokens == 4
    assert length(tree, 1, 2, 3, 9) == 2


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), max_size=30))
def test_tree_holds_every_prefix(prompts: list[list[int]]) -> None:
    """The tree has as many tokens as there are distinct prefixes, and finds each of them."""
    tree = RadixCache()
    for prompt in prompts:
        insert(tree, *prompt)
    assert tree.tokens == len({tuple(p[: i + 1]) for p in prompts for i in range(len(p))})
    assert all(length(tree, *prompt) == len(prompt) for prompt in prompts)
    tree.evict(tree.tokens)
    assert tree.tokens == tree.evictable == 0
