"""Loading: the pocket model, folders, hub ids out of reach; precision by device; prompts that break no template."""

import logging
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgnotes.lm import models, policy
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import cut, encode, load, locate, precision
from pgnotes.lm.policy import check_logprobs, hidden_states, multiply_logits, parameter_groups, prefill


def test_the_pocket_model_is_a_small_qwen2(pocket):
    model, tokenizer = pocket
    assert model.config.model_type == "qwen2"
    assert 1e6 <= sum(p.numel() for p in model.parameters()) <= 3e6
    assert not model.training
    assert tokenizer.chat_template


@settings(max_examples=300, deadline=None)
@given(st.text())
@example("naïve ☃ 🙂 \x00\r\n\t  two  spaces ,. don't")
@example("e\u0301 \u212b")  # what NFC would compose: e and its accent, and the sign for ångström
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
    assert (
        sum(int(i) in ends for i in encode(tokenizer, inside))
        == sum(int(i) in ends for i in encode(tokenizer, "abc"))
        == 2
    )


def test_cut_keeps_whole_characters(pocket):
    assert cut(pocket[1], "ab☃", 4) == "ab"  # the snowman has three bytes, and only two fit
    assert cut(pocket[1], "ab☃", 5) == "ab☃"
    assert cut(pocket[1], "☃ snow", 1) == "☃", "a first character that is longer than the limit stays whole"


def test_a_message_without_tokens_is_refused(gpt2):
    tokenizer = load(gpt2)[1]
    assert tokenizer.chat_template is None
    with pytest.raises(ValueError, match="^message is '', which has no tokens"):
        encode(tokenizer, "")


@pytest.mark.parametrize(
    ("capability", "half"),
    [
        (None, "float32"),
        ((7, 5), "float16"),
        ((7, 0), "float16"),
        ((8, 0), "bfloat16"),
        ((8, 9), "bfloat16"),
        ((9, 0), "bfloat16"),
    ],
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
    monkeypatch.setattr("pgnotes.lm.models.why_no_hub", lambda: "no network")
    with pytest.raises(ConnectionError, match="model=pocket"):
        locate("somebody/some-model")
    with pytest.raises(ConnectionError, match="^model is 'openai-community/gpt2'"):
        locate("gpt2")  # as it is still called everywhere
    with pytest.raises(BadInputError, match="^model is 'gpt3'"):
        locate("gpt3")


def test_a_hub_id_in_the_cache_loads_without_network(monkeypatch, tmp_path, pocket):
    for part in pocket:
        part.save_pretrained(tmp_path)
    monkeypatch.setattr("pgnotes.lm.models.why_no_hub", lambda: "no network")
    monkeypatch.setattr("pgnotes.lm.models.try_to_load_from_cache", lambda name, file: str(tmp_path / file))
    assert locate("somebody/some-model") == str(tmp_path)
    assert load("somebody/some-model")[0].config.model_type == "qwen2"


def test_a_saved_model_loads_from_its_folder_and_its_run(tmp_path, pocket):
    pocket[0].save_pretrained(tmp_path / "model")
    pocket[1].save_pretrained(tmp_path / "model")
    assert locate(str(tmp_path)) == locate(str(tmp_path / "model"))
    again, tokenizer = load(str(tmp_path))
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), pocket[0].state_dict().values(), strict=True)
    )
    assert tokenizer.chat_template == pocket[1].chat_template
    assert again.generation_config.eos_token_id == pocket[0].generation_config.eos_token_id


def test_weight_decay_spares_vectors():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    matrices, vectors = parameter_groups(dict(model.named_parameters()), 0.1)
    assert [p.dim() for p in matrices["params"]] == [2]
    assert [p.dim() for p in vectors["params"]] == [1, 1, 1]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0)


# any causal model, or a sentence

SHAPE = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": None,
}
ALL_HEADS = {"num_key_value_heads": 4}
GOOD = {
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "qwen3_moe": {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "llama": {},
    "smollm3": {},
    "olmo2": {},
    "mistral": {},
    "phi": ALL_HEADS,
    "phi3": {},
    "gemma": {"head_dim": 8},
    "gemma3_text": {"head_dim": 8},
    "gpt2": {},
    "gpt_neox": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "falcon": {"new_decoder_architecture": True},
    "stablelm": {},
    "glm4": {"head_dim": 8},
    "starcoder2": {},
    "nemotron": {},
    # These scale their logits.
    "granite": {"logits_scaling": 0.5},
    "cohere": {"logit_scale": 2.0},
    "cohere2": {"logit_scale": 2.0},
}
HYBRID = {
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "qwen3_next": {
        "head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
    },
}


def tiny(kind, more):
    """A small random model of that kind, whose distributions are far from even."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **SHAPE | more)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 or name.endswith("bias"):
                parameter.normal_(0.0, 0.3)
    return model


@pytest.mark.parametrize("kind", GOOD)
def test_any_causal_model_is_scored_as_it_scores_itself(kind):
    """With the prompt shared by all, by two, and by none, against the model's own logits."""
    model = tiny(kind, GOOD[kind])
    check_logprobs(model, kind)
    generator = torch.Generator().manual_seed(1)
    prompt, tokens = torch.randint(260, (9,), generator=generator), torch.randint(260, (3, 7), generator=generator)
    with torch.no_grad():
        own = model(input_ids=torch.cat([prompt.expand(3, -1), tokens], 1)).logits[:, 8:-1].log_softmax(-1)
        for pack in (3, 2, 1):
            logp, entropy = completion_logprobs(model, prompt, tokens, tokens >= 0, pack=pack)
            torch.testing.assert_close(logp, own.gather(2, tokens[..., None])[..., 0], rtol=0, atol=1e-5)
            torch.testing.assert_close(entropy, -(own.exp() * own).sum(-1), rtol=0, atol=1e-5)
    assert (own.exp() * own).sum(-1).abs().mean() < 4.5, "far from even, or a temperature would not be seen"


@pytest.mark.parametrize("kind", GOOD)
def test_logits_are_multiplied_for_good_or_the_family_is_refused_with_a_sentence(kind):
    """Gemma and Nemotron add 1 to the weights of a normalisation before they multiply by them."""
    model, ids = tiny(kind, GOOD[kind]), torch.arange(30, 60)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
    if kind in ("gemma", "gemma3_text", "nemotron"):
        with pytest.raises(BadInputError, match=f"^warmup_temperature is 1.7, but model 'mine', of type {kind},"):
            multiply_logits(model, 1.7, "mine")
        return
    multiply_logits(model, 1.7, "mine")
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, 1.7 * before, rtol=1e-4, atol=1e-4)
    check_logprobs(model, kind)


@pytest.mark.parametrize("kind", ["granite", "cohere", "cohere2"])
def test_a_model_that_scales_its_logits_in_an_unknown_way_is_refused_with_a_sentence(monkeypatch, kind):
    monkeypatch.setattr(policy, "own_scaling", lambda model, logits: logits)
    with pytest.raises(BadInputError, match=f"^model is 'my/model', of type {kind}: scored here, .* nats off"):
        check_logprobs(tiny(kind, GOOD[kind]), "my/model")


@pytest.mark.parametrize("kind", HYBRID)
def test_a_model_with_a_running_state_is_refused_with_a_sentence(kind):
    with pytest.raises(BadInputError, match=f"^model is 'my/model', of type {kind}, with a LinearAttention"):
        check_logprobs(tiny(kind, HYBRID[kind]), "my/model")


def test_a_model_that_cannot_be_run_our_way_is_refused_and_memory_is_not_blamed_on_it(monkeypatch, pocket):
    for error, expected in (
        (AttributeError("no cache"), BadInputError),
        (torch.OutOfMemoryError("CUDA out of memory."), torch.OutOfMemoryError),
    ):

        def fail(*args, error=error, **how):
            raise error

        monkeypatch.setattr(policy, "completion_hidden", fail)
        with pytest.raises(expected):
            check_logprobs(pocket[0], "pocket")


def test_loading_makes_the_check(monkeypatch):
    monkeypatch.setattr(
        models, "check_logprobs", lambda model, name: (_ for _ in ()).throw(BadInputError(f"model is {name!r}"))
    )
    with pytest.raises(BadInputError, match="^model is 'pocket'"):
        load("pocket")


# the versions of transformers


@pytest.mark.filterwarnings("error")
def test_the_cache_is_passed_without_a_warning(pocket, gpt2, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)  # else caplog hears nothing of it
    for model in (pocket[0], load(gpt2)[0]):
        prefill(model, [torch.tensor([5, 6, 7])])
    assert caplog.records == []


class New:
    def forward(self, input_ids, position_ids, attention_mask, use_cache, cache=None):
        return SimpleNamespace(last_hidden_state=cache)

    __call__ = forward


class Old:
    def forward(self, input_ids, position_ids, attention_mask, use_cache, past_key_values=None):
        return SimpleNamespace(last_hidden_state=past_key_values)

    __call__ = forward


@pytest.mark.parametrize("trunk", [New, Old])
def test_the_cache_goes_by_the_name_that_the_model_knows(trunk):
    """transformers 5.24 renamed it; from 5.40 on the old name is to be gone."""
    model = SimpleNamespace(base_model=trunk())
    assert hidden_states(model, 1, 2, 3, cache="the cache") == "the cache"


# the hub


@pytest.mark.parametrize(
    "proxy",
    ["socks5://127.0.0.1:9", "nonsense://127.0.0.1:9", "http://[::1", "http://127.0.0.1:9", "127.0.0.1:port"],
    ids=[
        "a SOCKS proxy",
        "a scheme that is none",
        "half an address",
        "one that does not answer",
        "a port that is none",
    ],
)
def test_a_proxy_that_does_not_work_is_a_reason_and_no_traceback(monkeypatch, proxy):
    for name in (
        "ALL_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "https_proxy",
        "http_proxy",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    reason = models.why_no_hub(0.5)
    assert reason
    assert "ImportError" not in reason, "a package that is missing is told in its own words"
    with pytest.raises(ConnectionError, match=r"^model is 'somebody/some-model'.*can't be reached \(.+\)"):
        locate("somebody/some-model")


def test_loading_leaves_the_bars_of_others_alone(monkeypatch):
    from transformers.utils import logging

    logging.enable_progress_bar()
    load("pocket")
    assert logging.is_progress_bar_enabled()
    with models.quiet(is_local=False):
        assert logging.is_progress_bar_enabled(), "a download of a gigabyte shows a sign of life"
    with models.quiet():
        assert not logging.is_progress_bar_enabled()
