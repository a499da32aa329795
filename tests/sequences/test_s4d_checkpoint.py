"""Official layouts of weights: renamed by hand from a network of ours, and back; anything else is refused."""

from __future__ import annotations

import pytest
import torch

from harmonia.core.errors import InputError, WeightsError
from harmonia.sequences.s4d import S4DModel, load_checkpoint


def network(**config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = S4DModel({"d_input": 2, "d_output": 3, "d_model": 6, "n_layers": 2, **config})
        for p in model.parameters():
            p.data += 0.1 * torch.randn_like(p)
    return model.eval()


def signal():
    return torch.randn(2, 40, 2, generator=torch.Generator().manual_seed(1))


def v4(model, prefix=""):
    """Names of the full code, version 4."""
    found = {}
    for key, value in model.state_dict().items():
        kind, *rest = key.split(".")
        if kind == "layers":
            number, *name = rest
            inner = ("output_linear", "0", name[1]) if name[0] == "output" else ("layer", *name)
            key = f"{prefix}layers.{number}.layer." + ".".join(inner)
        elif kind == "norms":
            key = f"{prefix}layers.{rest[0]}.norm.norm.{rest[1]}"
        elif kind == "norm":
            key = f"{prefix}norm.norm.{rest[0]}"
        elif kind == "decoder":
            key = f"decoder.0.output_transform.{rest[0]}"
        else:
            key = f"encoder.0.{rest[0]}"
        found[key] = value
    return found


def minimal(model):
    """Names of the minimal layer: eigenvalues of positive imaginary part, B merged into C."""
    found = {}
    for key, value in model.state_dict().items():
        if key.startswith("norms") or key.startswith(("encoder", "decoder")):
            found[key] = value
        elif key.endswith(".D"):
            found[f"s4_{key}"] = value[0]
        elif key.endswith(".inv_dt"):
            found[f"s4_{key}".replace("inv_dt", "log_dt")] = value[:, 0]
        elif key.endswith(".A_real"):
            found[f"s4_{key}".replace("A_real", "log_A_real")] = value
        elif key.endswith(".A_imag"):
            found[f"s4_{key}"] = value
        elif key.endswith(".C"):
            drive = torch.view_as_complex(model.state_dict()[key[:-1] + "B"])
            found[f"s4_{key}"] = torch.view_as_real((torch.view_as_complex(value) * drive).conj().resolve_conj())[0]
        elif key.endswith(".output.weight"):
            found[f"s4_{key}".replace("output.", "output_linear.0.")] = value[..., None]
        elif key.endswith(".output.bias"):
            found[f"s4_{key}".replace("output.", "output_linear.0.")] = value
    return found


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize(
    "config",
    [
        {"kernel": {"d_state": 8}},
        {"prenorm": True, "norm": "batch", "mixing": "linear", "kernel": {"d_state": 8, "n_ssm": 2}},
        {"prenorm": True, "kernel": {"d_state": 4, "bidirectional": True, "channels": 2, "dt_tie": False}},
        {"norm": "none", "kernel": {"d_state": 4}},
    ],
    ids=["post", "pre-batch", "bidirectional", "no-norm"],
)
def test_version_4_loads(config, prefix, tmp_path):
    model = network(**config)
    torch.save({"state_dict": v4(model, prefix)}, tmp_path / "last.ckpt")
    again = load_checkpoint(tmp_path / "last.ckpt")
    torch.testing.assert_close(again(signal()), model(signal()))
    assert again.config.kernel.n_ssm == (config["kernel"].get("n_ssm") or 6)


def test_version_3_loads():
    model, found = network(kernel={"d_state": 8}), {}
    for key, value in v4(model).items():
        key = key.replace("layer.layer.kernel.", "layer.kernel.kernel.").replace("layer.layer.D", "layer.D")
        key = key.replace("A_real", "inv_w_real")
        if key.endswith("A_imag"):
            key, value = key.replace("A_imag", "w_imag"), -value
        if key.endswith("inv_dt"):
            key, value = key.replace("inv_dt", "log_dt"), value[:, 0]
        found[key] = value
    torch.testing.assert_close(load_checkpoint(found)(signal()), model(signal()))


def test_the_minimal_layout_loads_with_its_conjugates():
    model = network(kernel={"d_state": 8})
    again = load_checkpoint(minimal(model))
    torch.testing.assert_close(again(signal()), model(signal()))


def test_options_that_no_shape_tells_are_given_by_name():
    options = {"dt_transform": "softplus", "real_transform": "softplus", "discretization": "bilinear", "bandlimit": 0.5}
    model = network(pooling="last", kernel={"d_state": 8, **options})
    again = load_checkpoint(v4(model), pooling="last", **options)
    torch.testing.assert_close(again(signal()), model(signal()))
    assert not torch.allclose(load_checkpoint(v4(model))(signal()), model(signal()))
    with pytest.raises(InputError, match="fields this model does not know"):
        load_checkpoint(v4(model), transform="exp")


def test_other_weights_are_refused():
    state = v4(network(kernel={"d_state": 8}))
    with pytest.raises(WeightsError, match=r"layers.1.kernel.C"):
        load_checkpoint({key: value for key, value in state.items() if "layers.1.layer.layer.kernel.C" not in key})
    with pytest.raises(WeightsError, match="mystery"):
        load_checkpoint({**state, "mystery": torch.zeros(1)})
    with pytest.raises(WeightsError, match="low-rank"):
        load_checkpoint({**state, "layers.0.layer.layer.kernel.P": torch.zeros(1, 6, 4, 2)})
    with pytest.raises(WeightsError, match="no weights of S4D"):
        load_checkpoint({"weight": torch.zeros(3)})
    real = {k: v[..., 0] if k.endswith("kernel.C") else v for k, v in state.items()}
    with pytest.raises(WeightsError, match="real-valued"):
        load_checkpoint(real)
