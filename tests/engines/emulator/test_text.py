"""The stand-in tokenizer, template and language model."""

from hypothesis import given
from hypothesis import strategies as st

from paceline.engines.emulator.text import answer, tokenize, tokenize_chat


@given(st.text(), st.text(), st.text())
def test_equal_text_prefix_equal_token_prefix(common: str, one: str, two: str) -> None:
    """Texts that begin alike have alike tokens up to the last whole four bytes."""
    whole = len(common.encode("utf-8", "surrogatepass")) // 4
    assert tokenize(common + one)[:whole] == tokenize(common + two)[:whole]


def test_a_token_is_four_bytes() -> None:
    """The last token may be short, and an empty text has none."""
    assert [len(tokenize(text)) for text in ("", "a", "abcd", "abcde", "ää")] == [0, 1, 1, 2, 1]


def test_an_answer_in_the_next_turn_keeps_its_tokens() -> None:
    """A conversation that goes on begins with the tokens of the prompt and the answer to it."""
    first = [{"role": "user", "content": "Tell me more."}]
    prompt = tokenize_chat(first)
    said = answer(prompt, 0, 5)
    later = tokenize_chat([*first, {"role": "assistant", "content": said}, *first])
    assert later[: len(prompt) + 5] == prompt + tokenize(said)


def test_tools_come_first() -> None:
    """Tools are part of the prompt, before all messages."""
    hello = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    plain, with_tools = tokenize_chat(hello), tokenize_chat(hello, [{"name": "f"}])
    assert with_tools[-len(plain) :] == plain
    assert len(with_tools) > len(plain)


def test_answers_depend_on_prompt_and_choice() -> None:
    """The same request gets the same answer; another prompt or choice, another one."""
    assert answer([1, 2], 0, 8) == answer([1, 2], 0, 8)
    assert len({answer([1, 2], 0, 8), answer([1, 3], 0, 8), answer([1, 2], 1, 8)}) == 3
    assert len(tokenize(answer([1, 2], 0, 8))) == 8
