"""Puts a stage's trained parts into the backbone's folder, and writes the rest of the backbone around them."""

from __future__ import annotations

from pathlib import Path

from toolkit.backbones import BackboneSpec, PixelUnshuffleCoder
from toolkit.backbones.describing import SPEC_FILE
from toolkit.backbones.locations import digest
from toolkit.backbones.spec import PART_CLASSES, Part
from toolkit.files import atomic, dump_json, write_text
from toolkit.pretrain.recipe import Recipe
from toolkit.pretrain.shape import make_scheduler
from toolkit.pretrain.stages import Networks

CLASSES = {"vae": "PixelUnshuffleCoder", "text_encoder": "ConstantTextEncoder"}
"""Classes of the parts that do not have the default class of their kind."""


def release(networks: Networks, recipe: Recipe, folder: Path) -> None:
    """Write the parts that a stage trained, then the rest of the backbone and its description.

    Raises:
        OSError: a part cannot be written.
    """
    for name in networks.trained:
        with atomic(folder / name, durable=True) as staged:
            networks.save(name, staged)
    write_backbone(folder, recipe)


def write_backbone(folder: Path, recipe: Recipe) -> None:
    """Write the coder and the scheduler, which are not trained, and ``backbone.json``, which describes all parts.

    Raises:
        OSError: a file cannot be written.
    """
    shape = recipe.shape
    widths = tuple(3 * 4**level for level in range(shape.cell.bit_length()))
    PixelUnshuffleCoder(widths, shape.latent_channels, shape.scaling_factor).save_pretrained(folder / "vae")
    make_scheduler().save_pretrained(folder / "scheduler")
    parts = {}
    for name, classes in PART_CLASSES.items():
        if (folder / name).is_dir():
            part = Part(class_name=CLASSES.get(name, classes[0]), folder=folder / name)
            parts[name] = part.model_copy(update={"folder": Path(name), "sha256": digest(folder / name, part)})
    spec = BackboneSpec(
        name=recipe.name,
        resolution=shape.resolution,
        prediction_type="sample",
        motion_beta_schedule=None,
        num_inference_steps=recipe.num_inference_steps,
        min_motion_steps=recipe.min_motion_steps,
        training_timesteps=recipe.training_timesteps,
        learning_rate=recipe.learning_rate,
        licence=recipe.licence,
        **parts,
    )
    write_text(folder / SPEC_FILE, dump_json(spec.model_dump(mode="json", exclude_defaults=True)), durable=True)
