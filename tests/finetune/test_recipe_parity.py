"""A step from the cache equals one of diffusers' `train_controlnet.py`, written out plainly."""

import copy

import pytest
import torch
from diffusers import DDPMScheduler
from torch.nn import functional as F
from torchvision import transforms

from toolkit.backbones import load
from toolkit.finetune.cache import CacheFolder
from toolkit.finetune.loss import losses, predict, target
from toolkit.finetune.plan import FROZEN, make_plan
from toolkit.finetune.setup import make_controlnet
from toolkit.finetune.stream import PairStream, to_batch
from toolkit.testing import tiny_backbone


def prepared(config):
    """Backbone, ControlNet, stream and prompts as in a training, with the VAE and the text encoder."""
    plan = make_plan(config)
    backbone = load(plan.spec, FROZEN)
    folder = CacheFolder(config, plan.datasets, plan.spec, torch.float32)
    folder.prepare()
    cache = folder.open()
    folder.fill(cache, backbone, folder.missing(cache))
    states = folder.prompts(cache, backbone)
    return backbone, make_controlnet(plan, backbone), PairStream(cache, config, range(1000)), states


def plain_step(backbone, controlnet, scheduler, entries, posterior_noise, noise, timesteps):
    """Loss and gradients of the recipe: pictures through the VAE, prompts through the text encoder, plain MSE."""
    image_transforms = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    pixel_values = torch.stack([image_transforms(entry.sample.picture("image").copy()) for entry in entries])
    conditioning = torch.stack(
        [transforms.ToTensor()(entry.sample.picture("conditioning_image").copy()) for entry in entries]
    )
    ids = backbone.tokenizer(
        [entry.text for entry in entries],
        max_length=backbone.tokenizer.model_max_length,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        posterior = backbone.vae.encode(pixel_values).latent_dist
        latents = (posterior.mean + posterior.std * posterior_noise) * backbone.vae.config.scaling_factor
        states = backbone.text_encoder(ids, return_dict=False)[0]
    noisy = scheduler.add_noise(latents, noise, timesteps)
    down, mid = controlnet(
        noisy, timesteps, encoder_hidden_states=states, controlnet_cond=conditioning, return_dict=False
    )
    predicted = backbone.unet(
        noisy,
        timesteps,
        encoder_hidden_states=states,
        down_block_additional_residuals=list(down),
        mid_block_additional_residual=mid,
        return_dict=False,
    )[0]
    kind = scheduler.config.prediction_type
    wanted = noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, timesteps)
    loss = F.mse_loss(predicted.float(), wanted.float(), reduction="mean")
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in controlnet.named_parameters()}


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("data", ["folder", "shards"])
def test_loss_and_gradients_are_those_of_the_recipe(settings, datasets, kind, data):
    config = settings(data=[datasets[data]])
    backbone, controlnet, stream, states = prepared(config)
    scheduler = DDPMScheduler.from_config(backbone.scheduler.config, prediction_type=kind)
    plain = copy.deepcopy(controlnet)
    positions = [3, 8, 21]
    collated = torch.utils.data.default_collate([stream[position] for position in positions])
    batch = to_batch(collated, states, backbone, "cpu")
    predicted = predict(controlnet, backbone.unet, scheduler, batch, torch.float32)
    loss = losses(predicted, target(scheduler, batch), batch, scheduler, config.loss).mean()
    loss.backward()

    numbers = [stream.pair(position)[0] for position in positions]
    encoded = [stream._cache.read(number, 0) for number in numbers]
    # What the stream has drawn from the posterior, told from the latents that it gave.
    mean, std = (torch.stack([getattr(one, name) for one in encoded]) for name in ("mean", "std"))
    posterior_noise = (collated["latents"] - mean) / std
    entries = [stream._cache.index[number] for number in numbers]
    wanted, gradients = plain_step(
        backbone, plain, scheduler, entries, posterior_noise, collated["noise"], collated["timesteps"]
    )
    assert wanted > 0.1
    assert abs(loss.detach() - wanted) < 1e-5 * wanted
    for name, parameter in controlnet.named_parameters():
        scale = gradients[name].abs().max()
        assert (parameter.grad - gradients[name]).abs().max() <= 1e-5 * max(1.0, scale), name
    assert max(gradient.abs().max() for gradient in gradients.values()) > 1e-3


def test_posterior_is_sampled_not_averaged(settings):
    *_, stream, _ = prepared(settings())
    number, _ = stream.pair(0)
    encoded, sample = stream._cache.read(number, 0), stream[0]
    noise = (sample["latents"] - encoded.mean) / encoded.std
    assert 0.8 < noise.std() < 1.2
    assert abs(noise.mean()) < 0.2


def test_coder_without_a_posterior_and_constant_prompt(settings, tmp_path):
    folder = tiny_backbone(tmp_path / "lossless", vae="unshuffle", vae_scale_factor=4, text=False)
    backbone, _, stream, states = prepared(settings(backbone=str(folder)))
    number, _ = stream.pair(5)
    image = stream._cache.index[number].sample.picture("image")
    assert not stream._cache.kept and not list((tmp_path / "remover").rglob("latents-*")), "as large as the pictures"
    batch = to_batch(torch.utils.data.default_collate([stream[5]]), states, backbone, "cpu")
    coded = backbone.vae.decode(batch.latents / backbone.vae.config.scaling_factor, return_dict=False)[0]
    assert torch.equal(((coded[0] + 1) * 127.5).round().byte(), torch.from_numpy(image).permute(2, 0, 1))
    assert next(iter(states.values())).shape == (4, 32)


def test_frozen_parts_get_no_gradient(settings):
    backbone, controlnet, stream, states = prepared(settings())
    scheduler = DDPMScheduler.from_config(backbone.scheduler.config)
    batch = to_batch(torch.utils.data.default_collate([stream[0]]), states, backbone, "cpu")
    losses(
        predict(controlnet, backbone.unet, scheduler, batch, torch.float32),
        target(scheduler, batch),
        batch,
        scheduler,
        settings().loss,
    ).mean().backward()
    assert all(parameter.grad is None for parameter in backbone.unet.parameters())
    assert all(parameter.grad is not None for parameter in controlnet.parameters())


@pytest.mark.parametrize("variants", [1, 3])
def test_batches_are_the_same_without_a_cache(settings, tmp_path, variants):
    batches = []
    for cache in ("on", "off"):
        backbone, _, stream, states = prepared(
            settings(cache=cache, output=tmp_path / cache, augmentation={"variants": variants})
        )
        collated = torch.utils.data.default_collate([stream[position] for position in (0, 7, 20, 41)])
        batches.append(to_batch(collated, states, backbone, "cpu"))
    for name in ("latents", "noise", "timesteps", "hint", "cells", "states"):
        one, other = (getattr(batch, name).double() for batch in batches)
        assert (one - other).abs().max() < 1e-4, name
