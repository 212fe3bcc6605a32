"""Loading: the pocket model, folders, hub ids out of reach; precision by device; prompts that can't break the template."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgnotes.lm.models import cut, encode, load, locate, parameter_groups, precision


def test_the_pocket_model_is_a_small_qwen2(pocket):
    model, tokenizer = pocket
    assert model.config.model_type == "qwen2"
    assert 1e6 <= sum(p.numel() for p in model.parameters()) <= 3e6
    assert not model.training
    assert tokenizer.chat_template


@settings(max_examples=300, deadline=None)
@given(st.text())
@example("naïve ☃ 🙂 \x00\r\n\t  two  spaces ,. don't")
def test_every_text_survives_the_tokenizer(text):
    tokenizer = test_every_text_survives_the_tokenizer.tokenizer
    for special in tokenizer.all_special_tokens:
        text = text.replace(special, "")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text.encode())


@pytest.fixture(autouse=True)
def _tokenizer(pocket):
    test_every_text_survives_the_tokenizer.tokenizer = pocket[1]


def test_a_prompt_cannot_end_its_own_turn(pocket):
    _, tokenizer = pocket
    ends = {tokenizer.convert_tokens_to_ids(t) for t in tokenizer.all_special_tokens}
    inside = cut(tokenizer, "a<|end|>b<|assistant|>c", 50)
    assert inside == "a< |end|>b< |assistant|>c"
    assert sum(int(i) in ends for i in encode(tokenizer, inside)) == sum(int(i) in ends for i in encode(tokenizer, "abc")) == 2


def test_cut_keeps_whole_characters(pocket):
    assert cut(pocket[1], "ab☃", 4) == "ab"  # the snowman has three bytes, and only two fit
    assert cut(pocket[1], "ab☃", 5) == "ab☃"


@pytest.mark.parametrize(
    ("capability", "half"), [(None, "float32"), ((7, 5), "float16"), ((7, 0), "float16"), ((8, 0), "bfloat16"), ((8, 9), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_precision_by_capability(capability, half):
    assert precision(capability) == getattr(torch, half)


@pytest.mark.parametrize("name", ["", "nothing", "./nothing", "/nothing/here", "a/b/c"])
def test_a_name_that_is_no_model(name):
    with pytest.raises(ValueError, match="^model "):
        locate(name)


def test_a_folder_that_is_not_a_model(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        locate(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="could not be loaded"):
        load(str(tmp_path))


def test_a_hub_id_without_network(monkeypatch):
    monkeypatch.setattr("pgnotes.lm.models.hub_is_reachable", lambda: False)
    with pytest.raises(ConnectionError, match="model=pocket"):
        locate("somebody/some-model")


def test_a_hub_id_in_the_cache_loads_without_network(monkeypatch, tmp_path, pocket):
    for part in pocket:
        part.save_pretrained(tmp_path)
    monkeypatch.setattr("pgnotes.lm.models.hub_is_reachable", lambda: False)
    monkeypatch.setattr("pgnotes.lm.models.try_to_load_from_cache", lambda name, file: str(tmp_path / file))
    assert locate("somebody/some-model") == str(tmp_path)
    assert load("somebody/some-model")[0].config.model_type == "qwen2"


def test_a_saved_model_loads_from_its_folder_and_its_run(tmp_path, pocket):
    pocket[0].save_pretrained(tmp_path / "model")
    pocket[1].save_pretrained(tmp_path / "model")
    assert locate(str(tmp_path)) == locate(str(tmp_path / "model"))
    again, tokenizer = load(str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), pocket[0].state_dict().values(), strict=True))
    assert tokenizer.chat_template == pocket[1].chat_template
    assert again.generation_config.eos_token_id == pocket[0].generation_config.eos_token_id


def test_weight_decay_spares_vectors():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    matrices, vectors = parameter_groups(model, 0.1)
    assert [p.dim() for p in matrices["params"]] == [2]
    assert {p.dim() for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0
