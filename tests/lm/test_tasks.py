"""The task: rewards that survive any string, a pass check that is one, prompts that never cross the split."""

import random
import re
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgnotes.lm.errors import BadInputError
from pgnotes.lm.prompts import load_prompts, split
from pgnotes.lm.tasks import digit_sum, digits_and_length

TASK = digits_and_length(12, 7)
SHAPED = digits_and_length(12, 7, reward="shaped")
ANYTHING = st.one_of(
    st.text(st.characters(), max_size=40),  # all of Unicode, lone surrogates included
    st.text("0123456789 ab²٣½Ⅷ①", min_size=10, max_size=14),
    st.text(st.sampled_from("07 a"), min_size=12, max_size=12),
    st.builds(lambda s, n: s * n, st.text(max_size=5), st.integers(0, 20_000)),
)


def definition(text: str) -> bool:
    """The rule again, written another way: count characters, find ASCII digits by a pattern, add them up."""
    digits = re.findall("[0-9]", text)
    return len(list(text)) == 12 and len(digits) >= 1 and sum(ord(d) - 48 for d in digits) == 7


@settings(max_examples=10_000, deadline=None)
@given(ANYTHING)
@example("")
@example("abc²defghi7k")
@example("٧bcdefghijkl")
@example("abcdefghijkl")
@example("seven is 16.")
def test_a_passing_string_is_exactly_one_the_definition_passes(text):
    assert TASK.passed(text) == definition(text)
    assert TASK.reward([text]) == [float(definition(text))]
    shaped = SHAPED.reward([text])[0]
    assert 0 <= shaped <= 1
    assert (shaped == 1) == definition(text)


def test_examples_by_hand():
    assert TASK.passed("seven is 16.")
    assert not TASK.passed("seven is 16")  # 11 characters
    assert not TASK.passed("seven is 17.")  # 8

    assert digits_and_length(3, 0).passed("a0b")
    assert not digits_and_length(3, 0).passed("abc")  # no digit at all
    assert digit_sum("1²٣4") == 5


def test_shaped_reward_rises_towards_the_target():
    rewards = SHAPED.reward(["seven is 15.", "seven is 12.", "seven is 12", "9999"])  # nearer in sum, sum, length, both
    assert 1 > rewards[0] > rewards[1] > rewards[2] > rewards[3] >= 0
    nothing = digits_and_length(12, 0, reward="shaped")
    assert nothing.reward(["abcdefghijkl"])[0] == pytest.approx(0.2), "without a digit only the length counts"


def test_the_steep_reward_halves_with_each_unit_that_a_number_is_off():
    """0.4 each for an exact length and an exact sum, and 1 for both."""
    steep = digits_and_length(12, 7, reward="steep")
    found = steep.reward(["seven is 16.", "seven is 15.", "seven is  17.", "seven is 13", "abcdefghijkl", "no"])
    assert found == pytest.approx([1.0, 0.4 + 0.2, 0.2 + 0.2, 0.2 + 0.05, 0.4, 0.4 / 1024])
    nothing = digits_and_length(12, 0, reward="steep")
    assert nothing.reward(["abcdefghijkl"])[0] == pytest.approx(0.4), "without a digit only the length counts"


def test_trl_calling_convention():
    chats = [[{"role": "assistant", "content": "seven is 16."}], [{"role": "assistant", "content": "no"}]]
    assert TASK.reward(completions=chats, prompts=["a", "b"], completion_ids=[[1], [2]], anything=[0, 0]) == [1.0, 0.0]
    assert TASK.reward([]) == []


def test_the_content_of_a_message_may_come_in_parts():
    parts = [{"type": "text", "text": "seven "}, {"type": "text", "text": "is 16."}, {"type": "image"}]
    assert TASK.reward([[{"role": "assistant", "content": parts}]]) == [1.0]
    assert TASK.reward([[{"role": "assistant", "content": ["seven ", "is 16."]}]]) == [1.0]
    assert TASK.reward([[{"role": "assistant", "content": None, "tool_calls": []}]]) == [0.0]


@pytest.mark.parametrize(
    "strange", [None, [], 3, ["text"], {"role": "assistant"}, [{"role": "assistant", "content": 3}], b"seven is 16."]
)
def test_a_completion_that_is_none_is_named_by_its_number(strange):
    with pytest.raises(ValueError, match=r"^completions\[1\] "):
        TASK.reward(["fine", strange])


def test_held_out_prompts_are_disjoint_and_deduplicated():
    task = digits_and_length()
    assert not set(task.prompts) & set(task.held_out)
    assert len(set(task.prompts)) == len(task.prompts) >= 300
    assert 0.12 < len(task.held_out) / (len(task.prompts) + len(task.held_out)) < 0.28
    train, held_out = split(load_prompts("bundled") * 2)
    assert (train, held_out) == (task.prompts, task.held_out)


def test_the_split_of_a_prompt_does_not_depend_on_the_others():
    prompts = load_prompts("bundled")
    kept = random.Random(0).sample(prompts, 200)
    assert set(split(kept)[1]) == set(split(prompts)[1]) & set(kept)


def test_the_message_states_the_rule():
    assert "12 characters" in TASK.message("Once")
    assert TASK.message("Once {length}").endswith("Once {length}"), "braces in a prompt are left alone"


class Watched(str):
    """A prompt that counts how often any is compared with another, or encoded to be hashed."""

    looks = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Watched.looks += 1
        return super().__eq__(other)

    def encode(self, *args):
        Watched.looks += 1
        return super().encode(*args)

    def strip(self):
        return Watched(super().strip())


def test_the_split_is_linear_in_the_prompts():
    """One look at each: no list is searched for them, with which 200,000 prompts took a quarter of an hour."""
    prompts = [Watched(f"prompt {i}") for i in [*range(2000), *range(2000)]]
    Watched.looks = 0
    train, held_out = split(prompts)
    assert all(type(prompt) is Watched for prompt in train + held_out), "else nothing was counted"
    assert Watched.looks <= len(prompts)
    assert len(train) + len(held_out) == 2000
    assert 0.18 < len(held_out) / 2000 < 0.22


BRACES = 'Answer as JSON, {"text": "..."}, or {"a": {}} and { so } on: {prompt} {{prompt}}'


def test_braces_in_an_instruction_are_text_unless_they_name_something():
    task = digits_and_length(12, 7, instruction=BRACES.replace("{}", "{1: 2}"))
    assert task.message("x {y} {length}") == BRACES.replace("{}", "{1: 2}").replace("{prompt}", "x {y} {length}")


@pytest.mark.parametrize(
    "wrong", ["{prompt} {x}", "{prompt} {0}", "{prompt} {}", "{prompt} {lenght}", "{", "{{}}", "prompt", "{Prompt}"]
)
def test_an_instruction_that_cannot_be_filled_in_is_named(wrong):
    with pytest.raises(BadInputError, match="^instruction has"):
        digits_and_length(12, 7, instruction=wrong)


LINES = "\n".join(f"line {i} é ☃" for i in range(60))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-32-le"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding):
    mark = {"utf-16-be": b"\xfe\xff", "utf-32-le": b"\xff\xfe\0\0"}.get(encoding, b"")
    file = tmp_path / "mine.txt"
    file.write_bytes(mark + LINES.encode(encoding))
    assert load_prompts(str(file)) == LINES.splitlines()


def archive(folder):
    with tarfile.open(folder / "texts.tar.gz", "w:gz") as tar:
        tar.add(__file__)
    return (folder / "texts.tar.gz").read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        archive,
        lambda folder: Path(__file__).parents[2].joinpath("pgnotes/lm/pocket/model.safetensors").read_bytes(),
        lambda folder: LINES.encode("utf-16-le"),  # no mark
        lambda folder: "В понедельник пекарь\n".encode("cp1251") * 60,
        lambda folder: bytes(range(256)) * 50,
    ],
    ids=["an archive", "a model", "UTF-16 without a mark", "another alphabet's bytes", "any bytes"],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, data):
    file = tmp_path / "mine.txt"
    file.write_bytes(data(tmp_path))
    with pytest.raises(BadInputError, match=r"^prompts is .*mine\.txt', which is no text in UTF-8"):
        load_prompts(str(file))


def test_a_file_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "mine.txt"
    file.write_text(LINES)

    def deny(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(BadInputError, match="^prompts is .*can't be read: Permission denied"):
        load_prompts(str(file))


def test_openwebtext_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("pgnotes.lm.models.why_no_hub", lambda: None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConnectionError, match="pip install datasets"):
        load_prompts("openwebtext")


def test_a_text_file_in_any_encoding(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(
        b"\xef\xbb\xbf" + "\n".join(f"line {i} é ☃" for i in range(60)).encode() + b"\n\xff\xfe\x00 broken\n\n  \n"
    )
    prompts = load_prompts(str(file))
    assert prompts[0] == "line 0 é ☃"
    train, held_out = split(prompts)
    assert len(train) + len(held_out) == 61


def test_openwebtext_out_of_reach_names_the_bundled_file(monkeypatch):
    monkeypatch.setattr("pgnotes.lm.models.why_no_hub", lambda: "no network")
    with pytest.raises(ConnectionError, match=r"reached \(no network\); use --set prompts=bundled"):
        load_prompts("openwebtext")


def test_openwebtext_is_streamed_and_cut(monkeypatch):
    import datasets

    def fake(name, revision, split, streaming):
        assert streaming
        if revision is None:
            raise RuntimeError("Dataset scripts are no longer supported")
        return ({"text": "word " * 1000} for _ in range(10**9))

    monkeypatch.setattr("pgnotes.lm.models.why_no_hub", lambda: None)
    monkeypatch.setattr(datasets, "load_dataset", fake)
    texts = load_prompts("openwebtext")
    assert len(texts) == 2000
    assert len(texts[0]) <= 300


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"length": 0}, "length"),
        ({"digit_sum": -1}, "digit_sum"),
        ({"length": 2, "digit_sum": 19}, "digit_sum"),
        ({"reward": "dense"}, "reward"),
        ({"instruction": "write"}, "instruction"),
        ({"prompts": ["only one"]}, "prompts"),
        ({"prompts": "no such file"}, "prompts"),
    ],
)
def test_bad_input_names_the_argument(change, name):
    with pytest.raises(ValueError, match=f"^{name} "):
        digits_and_length(**change)


def test_bundled_prompts_are_text_of_one_line_each():
    lines = Path(__file__).parents[2].joinpath("pgnotes/lm/prompts.txt").read_text(encoding="utf-8").splitlines()
    assert all(line == line.strip() and 10 < len(line) < 80 for line in lines)
