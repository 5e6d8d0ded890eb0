"""The stages, and the use of the parts that they write."""

import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline, UNetMotionModel

from toolkit.backbones import check_compatible, describe, load
from toolkit.device import ComputeDevice
from toolkit.diffusion.motion_layers import PAPER, motion_layer_names, remove_motion_layers
from toolkit.edit.resolve import removed_layers
from toolkit.errors import InputError, UsageError
from toolkit.pretrain import PretrainObserver, pretrain, read_recipe
from toolkit.pretrain.samples import Pictures
from toolkit.pretrain.stages import make_networks
from toolkit.pretrain.training import Trainer
from toolkit.testing import drawn_dataset

CPU = ComputeDevice("cpu", "float32", False)
ALL = ("vae", "unet", "text_encoder", "scheduler", "controlnet_tile", "controlnet_inpaint", "motion_adapter")


class Losses(PretrainObserver):
    def __init__(self):
        self.losses, self.figures, self.rates = [], {}, []

    def advance(self, done, loss, learning_rate):
        self.losses.append(loss)
        self.rates.append(learning_rate)

    def measured(self, step, figures):
        self.figures[step] = figures


def weights_of(folder):
    names = ("unet", "text_encoder", "controlnet_tile", "controlnet_inpaint")
    return {name: (folder / name / "diffusion_pytorch_model.safetensors").read_bytes() for name in names}


@pytest.fixture(scope="module")
def backbone(datasets, recipe_file, tmp_path_factory):
    """The folder of a backbone after all stages. Tests must not change it."""
    from toolkit.pretrain import PretrainConfig

    output = tmp_path_factory.mktemp("all") / "nano"
    for stage in ("backbone", "regions", "inpaint", "tile", "motion"):
        values = {"stage": stage, "data": datasets[:2], "output": output, "recipe": recipe_file, "device": "cpu"}
        pretrain("nano", PretrainConfig(**values, dataloader_num_workers=0))
    return output


def test_all_stages_make_a_whole_backbone(backbone):
    spec = describe(backbone)
    assert set(spec.parts) == set(ALL)
    assert (spec.name, spec.num_inference_steps, spec.training_timesteps) == ("nano", 2, [999, 999, 499])
    assert spec.learning_rate == 1e-3
    check_compatible(spec, ALL)
    loaded = load(spec, ALL, CPU)
    assert all(torch.isfinite(p).all() for name in ALL[1:3] for p in getattr(loaded, name).parameters())
    for name in ("unet", "controlnet_tile", "controlnet_inpaint", "motion_adapter"):
        from safetensors.torch import load_file

        tensors = load_file(backbone / name / "diffusion_pytorch_model.safetensors")
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}, name


def test_each_stage_trains_its_own_part_only(settings, backbone, tmp_path):
    output = tmp_path / "nano"
    shutil.copytree(backbone, output)
    before = weights_of(output)
    shutil.rmtree(output / ".pretrain")
    pretrain("nano", settings(stage="tile", output=output, seed=5))
    after = weights_of(output)
    assert [name for name in before if before[name] != after[name]] == ["controlnet_tile"]
    describe(output)


def test_regions_train_on_what_the_backbone_trained(settings, backbone, datasets, tmp_path):
    output = tmp_path / "nano"
    shutil.copytree(backbone, output, ignore=shutil.ignore_patterns(".pretrain"))
    before, watch = weights_of(output), Losses()
    config = settings(stage="regions", output=output, held_out=[datasets[2]])
    pretrain("nano", config, watch)
    after = weights_of(output)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"unet", "text_encoder", "controlnet_tile"}
    assert watch.figures[3]["held-out inside"] > 5
    again = Losses()
    pretrain("nano", config, again)  # it starts from what the first run found, not from what it wrote
    assert not again.losses and weights_of(output) == after


def test_sampling_is_that_of_diffusers(backbone, recipe_file):
    """Held-out pictures are measured with the results of the pipeline that users run."""
    recipe = read_recipe(recipe_file)
    networks = make_networks("tile", recipe, backbone, CPU, 0)
    trainer = Trainer(networks, recipe, recipe.stages["tile"], "cpu")
    hint = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    ours = trainer.sample(hint, 2)
    loaded = load(describe(backbone), ALL, CPU)
    pipeline = StableDiffusionControlNetPipeline(
        vae=loaded.vae,
        text_encoder=None,
        tokenizer=None,
        unet=loaded.unet,
        controlnet=loaded.controlnet_tile,
        scheduler=loaded.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    states = loaded.text_encoder().last_hidden_state.expand(2, -1, -1)
    latents = torch.randn((2, 12, 32, 32), generator=torch.Generator().manual_seed(0))
    theirs = pipeline(
        prompt_embeds=states,
        image=hint,
        latents=latents,
        num_inference_steps=2,
        guidance_scale=1.0,
        output_type="pt",
    ).images
    assert (ours - theirs).abs().max() < 1e-4


def test_the_motion_adapter_is_what_was_trained(backbone, recipe_file):
    loaded = load(describe(backbone), ALL, CPU)
    unet = UNetMotionModel.from_unet2d(loaded.unet, loaded.motion_adapter)
    names = motion_layer_names(unet)
    from toolkit.edit.config import MotionConfig

    remove_motion_layers(unet, removed_layers(MotionConfig(), names))
    kept = [name for name in names if name not in PAPER]
    changed = [name for name in kept if any(p.any() for p in unet.get_submodule(name).proj_out.parameters())]
    assert kept
    assert changed == kept, "layers that were trained"
    for name in set(names) - set(kept):
        layer = loaded.motion_adapter.get_submodule(name)
        assert not any(p.any() for p in layer.proj_out.parameters()), f"{name} changes nothing"


def test_motion_layers_that_were_removed_are_saved_alike(backbone, recipe_file, tmp_path):
    networks = make_networks("motion", read_recipe(recipe_file), backbone, CPU, 0)
    for name in ("one", "other"):
        torch.rand(len(name))  # another state of the global generator
        networks.save("motion_adapter", tmp_path / name)
    one, other = (tmp_path / name / "diffusion_pytorch_model.safetensors" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_longer_training_learns(settings, datasets, recipe_of):
    watch = Losses()
    phase = {"steps": 160, "train_batch_size": 2, "learning_rate": 1e-3, "lr_warmup_steps": 2, "lr_decay": 0.5}
    config = settings(held_out=[datasets[2]], recipe=recipe_of(phase), checkpointing_steps=40)
    report = pretrain("nano", config, watch)
    assert np.mean(watch.losses[-20:]) < 0.5 * np.mean(watch.losses[:20])
    assert watch.figures[160]["held-out outside"] > watch.figures[40]["held-out outside"] + 0.5
    assert watch.figures[160]["held-out inside"] > watch.figures[40]["held-out inside"] + 0.5
    assert report.figures == watch.figures[160]
    assert watch.rates[0] < watch.rates[10] == max(watch.rates)
    assert watch.rates[-1] < 0.05 * max(watch.rates)


def test_what_does_not_fit_is_refused(settings, datasets, tmp_path, recipe_file):
    with pytest.raises(UsageError, match="no recipe for 'mini'; there is one for nano"):
        pretrain("mini", settings())
    with pytest.raises(UsageError, match="run --stage backbone first"):
        pretrain("nano", settings(stage="inpaint"))
    with pytest.raises(UsageError, match="64 pixels, and the recipe needs 256"):
        pretrain("nano", settings(recipe=None))
    short = drawn_dataset(tmp_path / "short", frames=2)
    with pytest.raises(UsageError, match="no clip of 3 frames"):
        Pictures([short], 64, 3)
    with pytest.raises(InputError, match="expected a dataset"):
        pretrain("nano", settings(data=[tmp_path]))
    broken = tmp_path / "broken.json"
    broken.write_text(recipe_file.read_text().replace('"version": 1', '"version": 0'))
    with pytest.raises(InputError, match="version"):
        pretrain("nano", settings(recipe=broken))
    with pytest.raises(InputError, match="cannot be read"):
        pretrain("nano", settings(recipe=tmp_path / "none.json"))


@pytest.mark.parametrize("name", ["unet", "controlnet_tile", "motion_adapter"])
def test_changed_weights_are_refused(backbone, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(backbone, copy)
    path = copy / name / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"the {name} of the backbone nano.*was changed"):
        load(describe(copy), (name,), CPU)
    path.unlink()
    with pytest.raises(InputError, match=r"no diffusion_pytorch_model\.safetensors"):
        load(describe(copy), (name,), CPU)


def test_the_shipped_recipe_is_sound():
    from toolkit.pretrain.recipe import RECIPES, recipe_names
    from toolkit.pretrain.shape import make_controlnet, make_motion_adapter, make_unet

    assert recipe_names() == ["nano"]
    recipe = read_recipe(RECIPES / "nano.json")
    assert set(recipe.stages) == {"backbone", "regions", "inpaint", "tile", "motion"}
    assert recipe.num_inference_steps <= 4
    with torch.device("meta"):
        unet = make_unet(recipe.shape)
        controlnet, adapter = make_controlnet(unet, recipe.shape), make_motion_adapter(recipe.shape)
    count = {
        name: sum(p.numel() for p in model.parameters())
        for name, model in {"unet": unet, "controlnet": controlnet, "adapter": adapter}.items()
    }
    # UNet, adapter, ControlNets inpaint and tile, and two removers, in 16 bits.
    assert 2 * (count["unet"] + count["adapter"] + 4 * count["controlnet"]) < 60e6


def test_a_phase_may_draw_timesteps_of_its_own(settings, recipe_of, phases, monkeypatch):
    drawn, predict = [], Trainer.predict

    def watched(self, noisy, timesteps, hint, frames):
        drawn.append(set(timesteps.tolist()))
        return predict(self, noisy, timesteps, hint, frames)

    monkeypatch.setattr(Trainer, "predict", watched)
    pretrain("nano", settings(recipe=recipe_of(phases[0] | {"training_timesteps": [7]}, phases[1])))
    assert drawn[:3] == [{7}] * 3 and all(one <= {999, 499} for one in drawn[3:]) and len(drawn) == 6
