"""Released layouts: loaded strictly from files and folders, whatever is wrong with them named."""

from __future__ import annotations

import json

import pytest
import torch

from harmonia.audio.mossformer2 import MossFormer2, MossFormer2Config, load_checkpoint
from harmonia.audio.mossformer2.checkpoint import layout_of, official_name, renamed
from harmonia.audio.mossformer2.claims.released import released_shapes, released_state
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import write_safetensors

CONFIG = MossFormer2Config(n_filters=16, depth=2, qk_dim=8, fsmn_dim=8, order=3)
LAYOUTS = ("standalone", "clearvoice")
MIXTURE = torch.randn(1, 900, generator=torch.Generator().manual_seed(0))


def output(model: MossFormer2) -> torch.Tensor:
    with torch.no_grad():
        return model(MIXTURE)


def expected() -> torch.Tensor:
    state = released_state("clearvoice", CONFIG, 0)
    model = MossFormer2(CONFIG)
    model.load_state_dict(renamed(state, CONFIG, "clearvoice"))
    return output(model.eval())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_release_has_1099_tensors_and_every_name_of_ours_has_one_of_theirs(layout):
    shapes = released_shapes(layout, MossFormer2Config())
    assert len(shapes) == 1099
    with torch.device("meta"):
        ours = MossFormer2().state_dict()
    theirs = [official_name(name, layout) for name in ours]
    assert len(set(theirs)) == len(theirs)
    assert set(shapes) - set(theirs) == {
        name for name in shapes if name.endswith(("rotary_pos_emb.freqs", "pos_enc.inv_freq"))
    }
    for name, tensor in ours.items():
        assert tensor.numel() == torch.Size(shapes[official_name(name, layout)]).numel(), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrapping", ["bare", "model", "module."])
def test_both_layouts_load_in_all_their_wrappings(layout, wrapping, tmp_path):
    state = released_state(layout, CONFIG, 0)
    prefix = {"standalone": "", "clearvoice": "model."}[layout]
    state = {prefix + key: value for key, value in state.items()}
    if wrapping == "module.":
        state = {f"module.{key}": value for key, value in state.items()}
    path = tmp_path / "weights.pt"
    torch.save({"model": state} if wrapping == "model" else state, path)
    model = load_checkpoint(path)
    assert model.config.sample_rate == {"standalone": 8000, "clearvoice": 16000}[layout]
    assert torch.equal(output(model), expected())


def test_folders_of_the_hub_load(tmp_path):
    state = released_state("standalone", CONFIG, 0)
    three = tmp_path / "mossformer2-whamr-2spk"
    three.mkdir()
    for part in ("encoder", "decoder", "masknet"):
        own = {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        torch.save(own, three / f"{part}.ckpt")
    model = load_checkpoint(three)
    assert model.config.mapping
    assert torch.equal(output(load_checkpoint(three, mapping=False)), expected())
    pointed = tmp_path / "MossFormer2_SS_16K"
    pointed.mkdir()
    torch.save({"model": released_state("clearvoice", CONFIG, 0)}, pointed / "last.pt")
    (pointed / "last_best_checkpoint").write_text("last.pt\n")
    assert torch.equal(output(MossFormer2.from_checkpoint(pointed)), expected())
    hub = tmp_path / "hub"
    hub.mkdir()
    write_safetensors(hub / "model.safetensors", state)
    assert torch.equal(output(load_checkpoint(hub)), expected())
    with pytest.raises(WeightsError, match="holds no MossFormer2"):
        load_checkpoint(tmp_path)


def test_our_own_file_says_what_it_is(tmp_path):
    config = MossFormer2Config(**{**vars(CONFIG), "sample_rate": 8000, "causal": True, "n_speakers": 3})
    torch.manual_seed(0)
    model = MossFormer2(config).eval()
    path = write_safetensors(tmp_path / "own.safetensors", model.state_dict(), {"config": json.dumps(vars(config))})
    again = load_checkpoint(path)
    assert again.config == config
    assert torch.equal(output(again), output(model))
    for contradiction in ({"sample_rate": 16000}, {"mapping": True}):
        with pytest.raises(InputError, match="the file says"):
            load_checkpoint(path, **contradiction)


def test_the_number_of_speakers_and_the_rate_are_told(tmp_path):
    three = MossFormer2Config(**{**vars(CONFIG), "n_speakers": 3})
    path = tmp_path / "weights.pt"
    torch.save(released_state("standalone", three, 0), path)
    model = load_checkpoint(path, sample_rate=16000)
    assert (model.config.n_speakers, model.config.sample_rate) == (3, 16000)


def spoil(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    stack = "mask_net.mdl.intra_mdl.mossformerM."
    if how == "missing":
        del state[f"{stack}fsmn.1.norm2.bias"]
    elif how == "unknown":
        state[f"{stack}fsmn.1.norm3.bias"] = torch.zeros(8)
    elif how == "shape":
        state[f"{stack}layers.0.to_qk.mdl.1.weight"] = torch.zeros(8, 15)
    elif how == "transposed":
        state[f"{stack}layers.0.to_qk.mdl.1.weight"] = torch.zeros(16, 8)
    elif how == "rotary":
        state[f"{stack}layers.1.rotary_pos_emb.freqs"] *= 2
    elif how == "sinusoids":
        state["mask_net.pos_enc.inv_freq"] *= 2
    else:
        state = {"something.else": torch.zeros(1)}
    return state


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", "fsmn.1.norm2.bias"),
        ("unknown", "fsmn.1.norm3.bias"),
        ("shape", "to_qk.mdl.1.weight"),
        ("transposed", "to_qk.mdl.1.weight"),
        ("rotary", "layers.1.rotary_pos_emb.freqs"),
        ("sinusoids", "pos_enc.inv_freq"),
        ("other", "not the weights"),
    ],
)
def test_what_does_not_fit_is_named(how, named, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(spoil(released_state("clearvoice", CONFIG, 0), how), path)
    with pytest.raises(WeightsError, match=named):
        load_checkpoint(path)


def test_files_that_are_none(tmp_path):
    (tmp_path / "noise.pt").write_bytes(b"no weights at all")
    for name in ("noise.pt", "nowhere.pt"):
        with pytest.raises(WeightsError):
            load_checkpoint(tmp_path / name)
    with pytest.raises(WeightsError, match="not the weights"):
        layout_of({"a": torch.zeros(1)})
