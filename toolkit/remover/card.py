"""The model card: README.md with the front matter of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from toolkit.remover.layout import CONTROLNET, CURVE, GRID, IMAGES, RECORD, RemoverRecord

_BODY = """
# Remover of {tasks}

Removes {tasks} from videos of faces and leaves everything else as it is. It is a ControlNet for the backbone
{backbone}, finetuned with the vlasik toolkit
after "V-LASIK: Consistent Glasses-Removal from Videos Using Synthetic Data" (arXiv 2406.14510).
{pictures}
## How to use it

```console
$ toolkit edit in.mp4 out.mp4 --remover path/to/this/folder --backbone {backbone_name}
```

With diffusers:

```python
from diffusers import ControlNetModel

controlnet = ControlNetModel.from_pretrained("path/to/this/folder", subfolder="{controlnet}")
```

Its input is the frame with the attribute: a face in a square crop of {resolution}x{resolution} pixels. The prompts are:

{prompts}

## Training data

{datasets}

In perfect pairs the picture without the attribute is a real frame, and the attribute was drawn on it. In imperfect
pairs the picture with the attribute is the real frame, and the one without was inpainted; its artefacts are
why training is stopped early.

## Training

The weights are those of step {step}, the best on held-out pairs. Why training ended: {stopped}.

{settings}

`{record}` has every setting, the versions of the libraries, and the checksums of the files and of the datasets.

## On held-out people

{figures}

## Limits and responsibility

- It was trained on crops of {resolution} pixels around a face, and is worse on faces that look smaller or larger in the
  crop than those of the training data.
- The part of a face that the attribute hides is made up. The result shows a plausible face, not the true one, and
  must not serve to identify a person.
- The faces of the people in the training data may influence what it makes up.
- Use it only on videos that you own or are licensed to edit, of people who agree, and say that a video was edited.
"""

_SETTINGS = (
    *("recipe", "init", "seed", "train_batch_size", "gradient_accumulation_steps", "learning_rate", "lr_scheduler"),
    *("lr_warmup_steps", "max_grad_norm", "mixed_precision", "mask_weight", "snr_gamma", "proportion_empty_prompts"),
    *("use_ema", "variants", "balance"),
)
"""Settings that the card names, as they are called in the training's config or in one of its groups."""

_PICTURES = (
    (GRID, "Held-out pairs", "Pairs that were held out: input, output, target."),
    (CURVE, "Why training ended", "Removal and artefacts on held-out pairs in the course of training."),
)


def render_card(record: RemoverRecord, pictures: Collection[str] = ()) -> str:
    """The text of README.md.

    Args:
        record: its `files` are not looked at.
        pictures: names of the files in ``images/``.
    """
    uses = record.datasets
    return _front(record) + _BODY.format(
        tasks=" and ".join(map(_plain, record.tasks)),
        backbone=_backbone(record),
        backbone_name=_plain(record.backbone.get("name")),
        pictures="".join(
            f"\n![{alt}]({IMAGES}/{name})\n\n{caption}\n" for name, alt, caption in _PICTURES if name in pictures
        ),
        controlnet=CONTROLNET,
        resolution=record.resolution,
        prompts=_table(("task", "prompt"), ((task, record.prompts[task]) for task in record.tasks)),
        datasets=_table(
            ("dataset", "task", "pairs", "clips", "kind"),
            ((use.name, use.task, use.pairs, use.clips, "perfect" if use.perfect else "imperfect") for use in uses),
        ),
        step=record.step,
        stopped=_plain(record.stopped).rstrip("."),
        settings=_table(("setting", "value"), _settings(record.config)),
        record=RECORD,
        figures=_table(
            ("metric", "value"),
            ((name, "not measured" if value is None else f"{value:.4g}") for name, value in record.held_out.items()),
        ),
    )


def _front(record: RemoverRecord) -> str:
    from huggingface_hub import ModelCardData

    licences = {"creativeml openrail-m": "creativeml-openrail-m", "apache-2.0": "apache-2.0"}
    licence = next((name for words, name in licences.items() if words in record.licence.lower()), "other")
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
    name = _plain(record.backbone.get("name"))
    repository = record.backbone["parts"]["unet"].get("repository")
    return f"{name} ([{repository}](https://huggingface.co/{repository}))" if repository else name


def _settings(config: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    flat = dict(config)
    for group in config.values():
        if isinstance(group, dict):
            flat.update(group)
    # A training that began with another remover has that one's checksums as `init`.
    return ((name, flat[name]) for name in _SETTINGS if isinstance(flat.get(name), (str, int, float)))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _plain(value: object) -> str:
    """Text in one line that means nothing to Markdown's tables, links and HTML."""
    text = " ".join(str(value).split())
    for sign in "\\|<[`*":
        text = text.replace(sign, "\\" + sign)
    return text
