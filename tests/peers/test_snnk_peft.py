"""Beside peft and transformers: adapters on models that peft has wrapped, replacement in BERT and ViT, sizes."""

from __future__ import annotations

import pytest
import torch

from harmonia.kernels.snnk import SNNKLinear, add_adapters, remove_adapters, replace_ffn

pytestmark = pytest.mark.peer
transformers = pytest.importorskip("transformers")


def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=50,
        max_position_embeddings=16,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config).eval()


def words(seed, n=16):
    return {"input_ids": torch.randint(0, 50, (n, 12), generator=torch.Generator().manual_seed(seed))}


def test_bert_is_replaced_and_adapted():
    model = bert()
    exact = model(**words(99)).logits
    found = replace_ffn(model, 128, sample=[words(seed) for seed in range(20)], pooler=True)
    assert [one.name.rpartition("encoder.layer.")[2] for one in found] == [
        "0.intermediate.dense",
        "1.intermediate.dense",
        "bert.pooler.dense",
    ]
    assert isinstance(model.bert.pooler.dense, SNNKLinear)
    answers = model(**words(99)).logits
    assert (answers - exact).std() < 0.5 * exact.std()
    assert len(add_adapters(model, 8, train=["classifier"])) == 4
    torch.testing.assert_close(model(**words(99)).logits, answers)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 4 * (32 * 8 + 32) + 32 * 3 + 3
    model(**words(1), labels=torch.zeros(16, dtype=torch.long)).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_vit_is_replaced_and_adapted():
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16, patch_size=8
    )
    model = transformers.ViTForImageClassification(config).eval()
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    exact = model(images).logits
    assert len(add_adapters(model, 8)) == 4
    torch.testing.assert_close(model(images).logits, exact)
    assert len(replace_ffn(model, 16, last_k=1)) == 1
    assert model(images).logits.shape == exact.shape


def test_behind_the_layers_of_a_model_with_lora():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(bert(), peft.LoraConfig(r=4, target_modules=["query", "value", "output.dense"]))
    exact = model(**words(0)).logits
    names = add_adapters(model, 8, train=["lora_"])
    assert len(names) == 4
    torch.testing.assert_close(model(**words(0)).logits, exact)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any("lora_A" in name for name in trained)
    assert any(name.endswith("adapter.scale") for name in trained)
    assert not any(name.endswith("base_layer.weight") for name in trained)
    remove_adapters(model)
    torch.testing.assert_close(model(**words(0)).logits, exact)
