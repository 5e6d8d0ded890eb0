"""``toolkit doctor``: what this machine can do, what is missing, and the sentence that gets it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import Literal

from toolkit.cli.console import err, out, print_table

MODULES = {
    None: (
        *("accelerate", "albumentations", "av", "cv2", "diffusers", "embreex", "huggingface_hub", "isal", "matplotlib"),
        *(
            "mediapipe",
            "numpy",
            "PIL",
            "pydantic",
            "rich",
            "safetensors",
            "scipy",
            "shtab",
            "skimage",
            "torch",
            "torchvision",
        ),
        *("transformers", "trimesh"),
    ),
    "facer": ("facer",),
    "bfm": ("h5py",),
    "train": ("datasets", "tensorboard"),
}
"""What each extra brings, by import name; None is the distribution without extras."""

CODECS = (
    # kind, name for people, FFmpeg's names in the order of preference, whether the default job needs it
    ("decode", "h264", ("h264",), True),
    ("decode", "hevc", ("hevc",), False),
    ("decode", "vp9", ("vp9", "libvpx-vp9"), False),
    ("decode", "av1", ("libdav1d", "libaom-av1"), False),  # FFmpeg's own "av1" works only on some GPUs
    ("decode", "prores", ("prores",), False),
    ("encode", "h264", ("libx264",), True),
)

RENDERERS = {
    "embree": (("trimesh", "embreex.rtcore", "embreex.mesh_construction"), "pip install --force-reinstall embreex"),
    "pytorch3d": (
        ("pytorch3d.renderer.mesh.rasterize_meshes",),
        "it has no wheel on PyPI: build it from its repository for the installed torch",
    ),
}
"""UV renderers: the modules that each needs, and how to get them."""

DEFAULT_TASK = "stickers"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        section, name: what it is.
        status: ``ok``, ``missing``, or ``broken`` (there, but it cannot be used).
        detail: a version, a device, or what is wrong.
        advice: the sentence that gets it; empty where the status is ``ok``.
        needed: whether the default job, `toolkit build-dataset --task stickers`, needs it.
    """

    section: str
    name: str
    status: Literal["ok", "missing", "broken"]
    detail: str = ""
    advice: str = ""
    needed: bool = False


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON instead of a table")
    parser.epilog = (
        f"Exits with 0 when the default job, build-dataset --task {DEFAULT_TASK}, can run here, else with 1."
    )


def run(args: argparse.Namespace) -> int:
    """Print what was found; 0 when the default job can run, else 1."""
    # Some libraries greet on stdout when they are imported, or complain about one another.
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        findings = examine()
    blocking = [finding for finding in findings if finding.needed and finding.status != "ok"]
    if args.json:
        print(json.dumps({"ok": not blocking, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return 1 if blocking else 0
    rows = [(f.section, f.name, f.status, f.detail) for f in findings]
    print_table(("what", "name", "status", "detail"), rows)
    for finding in findings:
        if finding.status != "ok":
            necessity = "needed" if finding.needed else "optional"
            out.print(f"{finding.section} {finding.name} ({necessity}): {finding.advice}", soft_wrap=True)
    job = f"toolkit build-dataset --task {DEFAULT_TASK}"
    if blocking:
        names = ", ".join(f"{finding.section} {finding.name}" for finding in blocking)
        err.print(f"`{job}` cannot run here: {names}", soft_wrap=True)
        return 1
    out.print(f"`{job}` can run here")
    return 0


def examine() -> list[Finding]:
    """Look for everything; imports the libraries one by one and survives those that fail."""
    return [
        *(*_system(), *_packages(), *_torch(), *_analysers(), *_weights(), *_backbones()),
        *(*_renderers(), *_codecs(), *_tasks()),
    ]


def _system() -> Iterator[Finding]:
    from toolkit import __version__

    yield Finding("system", "toolkit", "ok", __version__)
    yield Finding("system", "python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _packages() -> Iterator[Finding]:
    owners = metadata.packages_distributions()
    for extra, modules in MODULES.items():
        name = "vlasik-toolkit" if extra is None else f"vlasik-toolkit[{extra}]"
        problems = {module: problem for module in modules if (problem := _import_problem(module))}
        if not problems:
            versions = ", ".join(f"{module} {_version(module, owners)}" for module in modules)
            yield Finding("packages", extra or "base", "ok", versions, needed=extra is None)
            continue
        status = "missing" if all(isinstance(p, ModuleNotFoundError) for p in problems.values()) else "broken"
        detail = "; ".join(f"{module}: {_one_line(problem)}" for module, problem in problems.items())
        again = "" if status == "missing" else "--force-reinstall "
        yield Finding("packages", extra or "base", status, detail, f"pip install {again}'{name}'", extra is None)


def _torch() -> Iterator[Finding]:
    pair = "pip install --force-reinstall torch torchvision"
    try:
        import torch
    except ModuleNotFoundError:
        yield Finding("torch", "torch", "missing", "", "pip install torch torchvision")
        return
    except Exception as error:
        yield Finding("torch", "torch", "broken", _one_line(error), pair)
        return
    from toolkit.device import choose_device

    compute = choose_device()
    device = compute.device
    if device.startswith("cuda"):
        device += f" ({torch.cuda.get_device_name(device)})"
    order = "channels last" if compute.channels_last else "channels first"
    yield Finding("torch", "torch", "ok", torch.__version__)
    yield Finding("torch", "device", "ok", f"{device}, diffusion in {compute.dtype}, {order}")
    try:
        # An operator of torchvision's own library, which a torch of another build refuses to load.
        import torchvision

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except ModuleNotFoundError:
        yield Finding("torch", "torchvision", "missing", "", "pip install torch torchvision")
    except Exception as error:
        detail = f"it does not fit torch {torch.__version__}: {_one_line(error)}"
        yield Finding("torch", "torchvision", "broken", detail, pair)
    else:
        yield Finding("torch", "torchvision", "ok", f"{torchvision.__version__} fits torch")


def _analysers() -> Iterator[Finding]:
    from toolkit.faces import ANALYSERS, availability

    for name, line in ANALYSERS.items():
        needed = name == "mediapipe"
        try:
            advice = availability(name)
        except Exception as error:  # a half installed library
            yield Finding("analyser", name, "broken", _one_line(error), f"reinstall {name} with pip", needed)
            continue
        yield Finding("analyser", name, "missing" if advice else "ok", line, advice or "", needed)


def _weights() -> Iterator[Finding]:
    """Files that the analysers take from a known place; models that only the user can name are not looked for."""
    from toolkit.faces.facer import cached_path
    from toolkit.fetch.downloads import FACER_FILES

    for key, file in FACER_FILES.items():
        try:
            path = cached_path(key)
        except Exception as error:
            advice = "pip install 'vlasik-toolkit[facer]'"
            yield Finding("weights", f"facer {key}", "missing", f"without torch: {_one_line(error)}", advice)
            continue
        if path.is_file():
            yield Finding("weights", f"facer {key}", "ok", str(path))
        else:
            advice = f"run `toolkit fetch facer`, or put {file.url} at {path}"
            yield Finding("weights", f"facer {key}", "missing", f"expected at {path}", advice)


def _backbones() -> Iterator[Finding]:
    from toolkit.backbones import BACKBONES, backbone_names

    for name, spec in BACKBONES.items():
        advice = f"run `toolkit fetch {name}` where there is a network ({spec.download_size})"
        try:
            from toolkit.backbones.locations import in_cache

            there = in_cache(spec)
        except ImportError as error:
            detail = f"without huggingface_hub: {_one_line(error)}"
            yield Finding("backbone", name, "missing", detail, "pip install huggingface_hub")
            continue
        absent = [part for part, here in there.items() if not here]
        if absent:
            yield Finding("backbone", name, "missing", f"not in the cache: {', '.join(absent)}", advice)
        else:
            yield Finding("backbone", name, "ok", "in the cache")
    for name in sorted(set(backbone_names()) - set(BACKBONES)):
        yield Finding("backbone", name, "ok", "comes with the package")


def _renderers() -> Iterator[Finding]:
    for name, (modules, advice) in RENDERERS.items():
        problem = next((problem for module in modules if (problem := _import_problem(module))), None)
        if problem is None:
            yield Finding("renderer", name, "ok", needed=name == "embree")
            continue
        status = "missing" if isinstance(problem, ModuleNotFoundError) else "broken"
        yield Finding("renderer", name, status, _one_line(problem), advice, name == "embree")


def _codecs() -> Iterator[Finding]:
    advice = "pip install --force-reinstall av: its wheels bring an FFmpeg with this codec"
    try:
        from av.codec import Codec
    except Exception as error:
        for kind, name, _, needed in CODECS:
            yield Finding(kind, name, "missing", _one_line(error), advice, needed)
        return
    for kind, name, choices, needed in CODECS:
        for choice in choices:
            try:
                codec = Codec(choice, {"decode": "r", "encode": "w"}[kind])
            except ValueError:  # av.codec.codec.UnknownCodecError is one
                continue
            yield Finding(kind, name, "ok", codec.long_name, needed=needed)
            break
        else:
            yield Finding(kind, name, "missing", "", advice, needed)


def _tasks() -> Iterator[Finding]:
    from toolkit.registry import list_tasks

    entries = list_tasks()
    for entry in entries:
        needed = entry.name == DEFAULT_TASK
        if entry.status == "ok":
            yield Finding("task", entry.name, "ok", f"{entry.distribution} {entry.version}", needed=needed)
        else:
            yield Finding("task", entry.qualified, "broken", entry.status, entry.reason, needed)
    if not any(entry.name == DEFAULT_TASK for entry in entries):
        advice = "pip install --force-reinstall vlasik-toolkit: its metadata names no such task"
        yield Finding("task", DEFAULT_TASK, "missing", "", advice, True)


def _import_problem(module: str) -> BaseException | None:
    """What importing the module raised; a `ModuleNotFoundError` only where its whole package is absent."""
    package = module.split(".")[0]
    try:
        # albumentations would ask the network for its latest version.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import_module(package)
        import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != package:
            return ImportError(str(error))
        return error
    return None


def _version(module: str, owners: dict[str, list[str]]) -> str:
    """The version of the distribution that brings the module, or an empty text where none says so."""
    distributions = owners.get(module, [])
    return metadata.version(distributions[0]) if distributions else ""


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
