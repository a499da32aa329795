"""The network's exact properties: identity mask, homogeneity, parameter counts, gradients, saved and read back."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from harmonia.audio.mel_roformer import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.bands import SPLITS
from harmonia.core.errors import InputError

STEREO = MelBandRoformerConfig(dim=16, depth=2, heads=2, head_dim=8, mask_expansion=1)
MONO = MelBandRoformerConfig(
    sample_rate=16000, channels=1, n_fft=1024, hop_length=160, num_bands=24, dim=16, depth=2, heads=2, head_dim=8
)


def network(config: MelBandRoformerConfig, seed: int = 0) -> MelBandRoformer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MelBandRoformer(config).eval()
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def with_unit_mask(model: MelBandRoformer) -> MelBandRoformer:
    """Every mask is 1 + 0i: the value half of the gated end is (1, 0), its gate is open."""
    for estimator in model.mask_estimators:
        for band in estimator.to_freqs:
            end = band[0][-1]
            end.weight.data.zero_()
            value, gate = end.bias.data.chunk(2)
            value.view(-1, 2).copy_(torch.tensor([1.0, 0.0]))
            gate.fill_(40.0)
    return model


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("config", [STEREO, MONO], ids=["stereo", "mono"])
def test_the_unit_mask_returns_the_mixture(config, split):
    model = with_unit_mask(network(dataclasses.replace(config, split=split, stems=("a", "b"))))
    mixture = noise(2, config.channels, 12345)
    with torch.no_grad():
        assert (model(mixture) - mixture.unsqueeze(1)).abs().max() < 1e-6


@pytest.mark.parametrize("gain", [1e-3, 0.1, 10.0])
def test_louder_in_is_louder_out(gain):
    model, mixture = network(STEREO), noise(1, 2, 9000)
    with torch.no_grad():
        stems = model(mixture)
        difference = model(gain * mixture) / gain - stems
    assert difference.norm() < 1e-5 * stems.norm()


def test_silence_gives_silence():
    with torch.no_grad():
        assert (network(STEREO)(torch.zeros(1, 2, 5000)) == 0).all()


def test_counts_of_the_public_checkpoints():
    with torch.device("meta"):
        state = MelBandRoformer(MelBandRoformerConfig()).state_dict()

    def count(prefix: str) -> int:
        return sum(tensor.numel() for key, tensor in state.items() if key.startswith(prefix))

    assert len(state) == 684
    assert (count("layers"), count("band_split"), count("mask_estimators")) == (23_667_168, 3_070_700, 201_465_304)
    # The 12 copies of the 32 rotary frequencies are constants, counted once per axis in the published total.
    assert count("") - 10 * 32 == 228_202_852


@pytest.mark.parametrize("config", [STEREO, MONO], ids=["stereo", "mono"])
def test_with_and_without_gradients_the_results_agree(config):
    model, mixture = network(config), noise(2, config.channels, 20000)
    learning = model(mixture)
    with torch.no_grad():
        assert (model(mixture) - learning).abs().max() < 1e-6
        features = model.features(mixture)
    assert features.shape == (2, 1 + 20000 // config.hop_length, config.num_bands, config.dim)


def test_items_of_a_batch_do_not_touch_each_other():
    model, mixture = network(MONO), noise(3, 1, 8000)
    with torch.no_grad():
        alone = torch.cat([model(item.unsqueeze(0)) for item in mixture])
        assert (model(mixture) - alone).abs().max() < 1e-6


@pytest.mark.parametrize(
    "change",
    [{}, {"skip_connection": True}, {"feature_depth": 1}, {"time_depth": 2, "band_depth": 2}, {"mask_depth": 1}],
)
def test_every_parameter_learns(change):
    model = network(dataclasses.replace(MONO, dropout=0.1, **change)).train()
    with torch.random.fork_rng():
        model(noise(2, 1, 8000)).square().mean().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


def test_gradients_are_those_of_differences():
    model, mixture = network(MONO), noise(1, 1, 3000)
    parameter = model.layers[0][0].layers[0][0].to_qkv.weight
    (gradient,) = torch.autograd.grad(model(mixture).square().sum(), parameter)
    step = 1e-2 * gradient / gradient.norm()
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter += sign * step
            losses.append(model(mixture).double().square().sum())
            parameter -= sign * step
    assert (losses[0] - losses[1]).item() / 2e-2 == pytest.approx(gradient.norm().item(), rel=1e-2)


def test_zero_dc_clears_the_lowest_bin():
    model, mixture = with_unit_mask(network(dataclasses.replace(MONO, zero_dc=True))), noise(1, 1, 16000)
    spectrum = model.stft(mixture)
    spectrum[..., 0, :] = 0
    with torch.no_grad():
        assert (model(mixture)[:, 0] - model.stft.inverse(spectrum, 16000)).abs().max() < 1e-6


def test_half_precision_stays_near():
    model, mixture = network(STEREO), noise(1, 2, 20000)
    with torch.no_grad():
        exact = model(mixture)
        half = model.to(torch.bfloat16)(mixture)
    assert half.dtype == torch.float32
    assert (half - exact).norm() < 0.05 * exact.norm()


def test_saved_and_read_back(tmp_path):
    model, mixture = network(dataclasses.replace(MONO, stems=("vocals", "drums"))), noise(1, 1, 4000)
    model.save_pretrained(tmp_path)
    again = MelBandRoformer.from_pretrained(tmp_path)
    assert again.config == model.config
    with torch.no_grad():
        assert torch.equal(again(mixture), model(mixture))


@pytest.mark.parametrize("shape", [(2, 9000), (1, 1, 9000), (1, 3, 9000), (1, 2, 1024)])
def test_audio_that_does_not_fit_is_refused(shape):
    with pytest.raises(InputError):
        network(STEREO)._features(network(STEREO)._spectrum(torch.zeros(shape)))


def test_unknown_fields_are_refused():
    with pytest.raises(InputError, match="depht"):
        MelBandRoformer({"depht": 3})
