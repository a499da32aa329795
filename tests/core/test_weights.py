import hashlib
import pickle

import pytest
import torch
from torch import nn

from harmonia.core import weights
from harmonia.core.card import ReleasedWeights
from harmonia.core.errors import WeightsError
from harmonia.core.progress import watched

STATE = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.tensor([1.0, 2.0])}


def network():
    return nn.Sequential(nn.Linear(3, 2))


class Anything:
    """What a pickle of a whole training state may hold."""


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"state": s}])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_wrapped_forms_are_unwrapped(tmp_path, wrap, prefix):
    path = tmp_path / "a.ckpt"
    torch.save(wrap({prefix + key: value for key, value in STATE.items()}), path)
    read = weights.read_state_dict(path)
    assert set(read) == set(STATE)
    assert torch.equal(read["0.weight"], STATE["0.weight"])


def test_safetensors_are_recognised_by_content(tmp_path):
    path = weights.write_safetensors(tmp_path / "a.safetensors", STATE, {"config": {"dim": 3}, "note": "x"})
    disguised = path.rename(tmp_path / "a.pt")
    assert torch.equal(weights.read_state_dict(disguised)["0.bias"], STATE["0.bias"])
    assert weights.read_metadata(disguised) == {"config": '{"dim": 3}', "note": "x"}


def test_legacy_torch_files(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert set(weights.read_state_dict(path)) == set(STATE)


def test_a_pickle_that_could_run_anything_is_refused_until_trusted(tmp_path):
    path = tmp_path / "lightning.ckpt"
    torch.save({"state_dict": STATE, "callbacks": Anything()}, path)
    with pytest.raises(WeightsError, match="--trust-pickle"):
        weights.read_state_dict(path)
    assert set(weights.read_state_dict(path, trust_pickle=True)) == set(STATE)


@pytest.mark.parametrize(
    "content", [b"", b"hello world, not weights", b"PK\x03\x04broken", pickle.dumps([1]), b"\x10" + b"\0" * 7 + b"{"]
)
def test_corrupt_files(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        weights.read_state_dict(path)


def test_truncated_files(tmp_path):
    whole = tmp_path / "whole.pt"
    torch.save({"w": torch.zeros(1000)}, whole)
    cut = tmp_path / "cut.pt"
    for share in (0.1, 0.5, 0.9):
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        with pytest.raises(WeightsError):
            weights.read_state_dict(cut)


def test_no_tensors(tmp_path):
    path = tmp_path / "none.pt"
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="holds no tensors"):
        weights.read_state_dict(path)


def test_loading_is_strict_and_names_the_first_difference():
    module = network()
    weights.load_strictly(module, STATE)
    assert torch.equal(module[0].weight, STATE["0.weight"])
    with pytest.raises(WeightsError, match=r"lack '0\.bias'"):
        weights.load_strictly(module, {"0.weight": STATE["0.weight"]})
    with pytest.raises(WeightsError, match=r"have '1\.weight'"):
        weights.load_strictly(module, {**STATE, "1.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"\(2, 4\) instead of \(2, 3\).*Change dim of the configuration"):
        weights.load_strictly(module, {**STATE, "0.weight": torch.zeros(2, 4)}, hints={"0.weight": "dim"})


def test_locate_local_and_embedded(tmp_path):
    path = weights.write_safetensors(tmp_path / "a.safetensors", STATE)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights.locate("embedded", embedded=path) == path
    assert weights.locate(path, sha256=checksum) == path
    with pytest.raises(WeightsError, match="not the published file"):
        weights.locate(path, sha256="0" * 64)
    with pytest.raises(WeightsError, match="no embedded weights"):
        weights.locate("embedded")
    with pytest.raises(WeightsError, match="no such file"):
        weights.locate(tmp_path / "none.ckpt")


def test_hub_files_come_from_the_cache_and_announce_their_licence_once(tmp_path, monkeypatch):
    path = weights.write_safetensors(tmp_path / "a.safetensors", STATE)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, file: str(path))
    monkeypatch.setattr(weights, "_announced", set())
    card = [ReleasedWeights(name="A", repo="o/n", file="a.safetensors", license=["MIT", "CC-BY-NC-4.0"])]
    messages = []
    watcher = type("W", (), {"step": lambda *_: None, "say": lambda self, text: messages.append(text)})()
    with watched(watcher):
        assert weights.locate("hub:o/n", released=card) == path
        assert weights.locate("hub:o/n/a.safetensors", released=card) == path
    assert len(messages) == 1
    assert "MIT / CC-BY-NC-4.0" in messages[0]
    assert "contradict" in messages[0]


def test_hub_checksum_of_the_card_is_checked(tmp_path, monkeypatch):
    path = weights.write_safetensors(tmp_path / "a.safetensors", STATE)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, file: str(path))
    card = [ReleasedWeights(name="A", repo="o/n", file="a.safetensors", license=["MIT"], sha256="0" * 64)]
    with pytest.raises(WeightsError, match="not the published file"):
        weights.locate("hub:o/n", released=card)


def test_hub_offline_with_nothing_cached(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="Connect once, or fetch the file elsewhere"):
        weights.locate("hub:owner/name/model.ckpt")


def test_hub_needs_a_file_name():
    with pytest.raises(WeightsError, match="known files: none known"):
        weights.locate("hub:owner/name")


def test_checkpoint_is_a_medium(tmp_path):
    checkpoint = weights.Checkpoint(STATE, {"config": "{}"})
    again = weights.Checkpoint.read(checkpoint.write(tmp_path / "a.safetensors"))
    assert torch.equal(again.tensors["0.weight"], STATE["0.weight"])
    assert again.metadata == {"config": "{}"}
    assert again.show().axes
