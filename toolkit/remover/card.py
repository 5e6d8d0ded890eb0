"""The model card: README.md with front matter for the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from toolkit.remover.layout import CONTROLNET, CURVE, GRID, IMAGES, LORA_WEIGHTS, RECORD, RemoverRecord
from toolkit.words import markdown_text

_BODY = """
# Remover of {tasks}

Removes {tasks} from videos of faces and leaves everything else unchanged. This is a ControlNet for the backbone
{backbone}, finetuned with the vlasik toolkit
by the method of "V-LASIK: Consistent Glasses-Removal from Videos Using Synthetic Data" (arXiv 2406.14510).
{pictures}
## How to use it

```console
$ toolkit edit in.mp4 out.mp4 --remover path/to/this/folder --backbone {backbone_name}
```

With diffusers{with_peft}:

```python
from diffusers import ControlNetModel

{loading}
```

The input is a frame with the attribute: {seen}. Use these prompts:

{prompts}

## Training data

{datasets}

In perfect pairs, the image without the attribute is a real frame, and the attribute was drawn on it. In imperfect
pairs, the image with the attribute is the real frame, and the other one was inpainted. Inpainting leaves artefacts,
so training stops before the model learns them.

## Training

The weights are from step {step}, which scored best on held-out pairs. Training ended for this reason: {stopped}.

{settings}

`{record}` lists all settings, library versions, and checksums of files and datasets.

## Results on held-out people

{figures}

## Limits and responsibility

- The model was trained on crops of {resolution} pixels around a face. Faces that fill the crop more or less than in the
  training data give worse results.
- The model invents the part of the face that the attribute hides. The result is a plausible face, not the true one.
  Do not use it to identify people.
- The faces in the training data can influence the invented parts.
- Edit only videos that you own or may edit, of people who consent, and disclose that a video was edited.
"""

_SETTINGS = (
    *("preset", "recipe", "init", "seed", "train_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("lr_scheduler", "lr_warmup_steps", "max_grad_norm", "mixed_precision", "mask_weight", "snr_gamma"),
    *("proportion_empty_prompts", "use_ema", "variants", "balance", "lora_rank"),
)
"""Settings shown on the card, by their name in the finetuning config or in one of its groups."""

_PICTURES = (
    (GRID, "Held-out pairs", "Held-out pairs: input, output, target."),
    (CURVE, "Training curve", "Removal and artefacts on held-out pairs over the course of training."),
)


def render_card(record: RemoverRecord, pictures: Collection[str] = ()) -> str:
    """Render README.md.

    Args:
        record: of the remover. `files` is ignored.
        pictures: names of the files in ``images/``.
    """
    uses = record.datasets
    return _front(record) + _BODY.format(
        tasks=" and ".join(map(markdown_text, record.tasks)),
        backbone=_backbone(record),
        backbone_name=markdown_text(record.backbone.get("name")),
        pictures="".join(
            f"\n![{alt}]({IMAGES}/{name})\n\n{caption}\n" for name, alt, caption in _PICTURES if name in pictures
        ),
        with_peft="" if record.lora_rank is None else " and peft",
        loading=_loading(record),
        resolution=record.resolution,
        seen=_seen(record),
        prompts=_table(("task", "prompt"), ((task, record.prompts[task]) for task in record.tasks)),
        datasets=_table(
            ("dataset", "task", "pairs", "clips", "kind"),
            ((use.name, use.task, use.pairs, use.clips, "perfect" if use.perfect else "imperfect") for use in uses),
        ),
        step=record.step,
        stopped=markdown_text(record.stopped).rstrip("."),
        settings=_table(("setting", "value"), _settings(record.config)),
        record=RECORD,
        figures=_table(
            ("metric", "value"),
            ((name, "not measured" if value is None else f"{value:.4g}") for name, value in record.held_out.items()),
        ),
    )


def _seen(record: RemoverRecord) -> str:
    crop = f"a square crop of {record.resolution}x{record.resolution} pixels"
    if record.region is None:
        return f"a face in {crop}"
    width, height = record.region
    return f"a part of about {width}x{height} pixels around the attribute, cut from a face in {crop}"


def _loading(record: RemoverRecord) -> str:
    if record.lora_rank is None:
        return f'controlnet = ControlNetModel.from_pretrained("path/to/this/folder", subfolder="{CONTROLNET}")'
    base = record.backbone["parts"]["controlnet_tile"].get("repository") or "path/to/the/tile/controlnet"
    return (
        f'controlnet = ControlNetModel.from_pretrained("{base}")\n'
        f'controlnet.load_lora_adapter("path/to/this/folder/{CONTROLNET}", weight_name="{LORA_WEIGHTS}", prefix=None)'
    )


def _front(record: RemoverRecord) -> str:
    from huggingface_hub import ModelCardData

    licences = {"creativeml openrail-m": "creativeml-openrail-m", "apache-2.0": "apache-2.0"}
    licence = next((name for phrase, name in licences.items() if phrase in record.licence.lower()), "other")
    repository = record.backbone["parts"]["unet"].get("repository")
    front = ModelCardData(
        library_name="diffusers",
        pipeline_tag="image-to-image",
        base_model=repository,
        license=licence,
        tags=["controlnet", "vlasik-toolkit"],
    )
    return f"---\n{front.to_yaml()}\n---\n"


def _backbone(record: RemoverRecord) -> str:
    name = markdown_text(record.backbone.get("name"))
    repository = record.backbone["parts"]["unet"].get("repository")
    return f"{name} ([{repository}](https://huggingface.co/{repository}))" if repository else name


def _settings(config: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    flat = dict(config)
    for group in config.values():
        if isinstance(group, dict):
            flat.update(group)
    # If training started from another remover, `init` holds checksums, which the card leaves out.
    return ((name, flat[name]) for name in _SETTINGS if isinstance(flat.get(name), (str, int, float)))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(markdown_text, line))} |" for line in lines)
