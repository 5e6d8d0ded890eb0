"""``toolkit doctor``: report what this machine can do, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import Literal

from toolkit.cli.console import err, out, print_table

MODULES: dict[str | None, tuple[str, ...]] = {
    None: (
        *("accelerate", "albumentations", "av", "cv2", "diffusers", "embreex", "huggingface_hub", "isal", "matplotlib"),
        *("mediapipe", "numpy", "PIL", "pydantic", "rich", "safetensors", "scipy", "shtab", "skimage", "torch"),
        *("torchvision", "transformers", "trimesh", "yaml"),
    ),
    "facer": ("facer",),
    "bfm": ("h5py",),
    "train": ("datasets", "tensorboard"),
    "identity": ("onnxruntime",),
    "lpips": ("lpips",),
    "c2pa": ("c2pa", "cryptography"),
    "dev": ("hypothesis", "mypy", "pdoc", "pytest", "pytest_cov", "xdist", "ruff", "webdataset"),
}
"""Import names of the packages that each extra installs; None stands for the distribution without extras."""

CODECS = (
    # kind, name, FFmpeg's names in the order of preference, whether the default job needs it
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
        "PyPI has no wheel: build it from its repository for the installed torch",
    ),
}
"""UV renderers: the modules that each one needs, and how to get them."""

DEFAULT_TASK = "stickers"

Status = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        section, name: the subject.
        status: ``ok``, ``missing``, or ``broken`` (installed but unusable).
        detail: a version, a device, or the problem.
        advice: how to get or repair it; empty if the status is ``ok``.
        needed: whether the default job, `toolkit build-dataset --task stickers`, needs it.
    """

    section: str
    name: str
    status: Status
    detail: str = ""
    advice: str = ""
    needed: bool = False


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    parser.epilog = f"Exit codes: 0 `toolkit build-dataset --task {DEFAULT_TASK}` can run on this machine; 1 it cannot."


def run(args: argparse.Namespace) -> int:
    """Print the findings; return 0 if the default job can run, else 1."""
    # Some libraries print to stdout when they are imported, or warn about each other.
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        findings = examine()
    blocking = [finding for finding in findings if finding.needed and finding.status != "ok"]
    if args.json:
        print(json.dumps({"ok": not blocking, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return 1 if blocking else 0
    rows = [(f.section, f.name, f.status, f.detail) for f in findings]
    print_table(("section", "name", "status", "detail"), rows)
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
    """Run all checks. Libraries are imported one by one, and a failing import becomes a finding."""
    return [
        *(*_system(), *_packages(), *_opencv(), *_torch(), *_analysers(), *_weights(), *_backbones()),
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
        status: Status = "missing" if all(isinstance(p, ModuleNotFoundError) for p in problems.values()) else "broken"
        detail = "; ".join(f"{module}: {_one_line(problem)}" for module, problem in problems.items())
        again = "" if status == "missing" else "--force-reinstall "
        yield Finding("packages", extra or "base", status, detail, f"pip install {again}'{name}'", extra is None)


def _opencv() -> Iterator[Finding]:
    """Four packages of OpenCV share the folder ``cv2``, and the one that pip installed last is imported."""
    try:
        import cv2

        wanted = metadata.version("opencv-contrib-python")
    except Exception:  # told by the packages
        return
    if wanted.startswith(f"{cv2.__version__}.") and hasattr(cv2, "ximgproc"):
        yield Finding("packages", "opencv", "ok", f"cv2 is that of opencv-contrib-python {wanted}")
        return
    detail = f"cv2 {cv2.__version__} is not that of opencv-contrib-python {wanted}: another OpenCV package replaced it"
    advice = f"pip install --force-reinstall --no-deps opencv-contrib-python=={wanted}"
    yield Finding("packages", "opencv", "broken", detail, advice)


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
        # Calls torchvision's native library, which does not load if torch comes from another build.
        import torchvision

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except ModuleNotFoundError:
        yield Finding("torch", "torchvision", "missing", "", "pip install torch torchvision")
    except Exception as error:
        detail = f"incompatible with torch {torch.__version__}: {_one_line(error)}"
        yield Finding("torch", "torchvision", "broken", detail, pair)
    else:
        yield Finding("torch", "torchvision", "ok", f"{torchvision.__version__}, compatible with torch")


def _analysers() -> Iterator[Finding]:
    from toolkit.faces import ANALYSERS, availability

    for name, line in ANALYSERS.items():
        needed = name == "mediapipe"
        try:
            advice = availability(name)
        except Exception as error:  # a library that is installed in part
            yield Finding("analyser", name, "broken", _one_line(error), f"reinstall {name} with pip", needed)
            continue
        yield Finding("analyser", name, "missing" if advice else "ok", line, advice or "", needed)


def _weights() -> Iterator[Finding]:
    """Downloads of `toolkit fetch`, except mediapipe's, which the analyser's own finding covers."""
    from toolkit.fetch.downloads import DOWNLOADS, FACER_FILES

    files = [(f"facer {key}", "facer", file) for key, file in FACER_FILES.items()]
    others = [(name, download) for name, download in DOWNLOADS.items() if name not in ("facer", "mediapipe")]
    files += [(name, name, file) for name, download in others for file in download.files]
    for label, name, file in files:
        try:
            path = DOWNLOADS[name].folder() / file.name
        except Exception as error:
            yield Finding(
                "weights", label, "missing", f"torch is missing: {_one_line(error)}", "pip install torch torchvision"
            )
            continue
        if path.is_file():
            yield Finding("weights", label, "ok", str(path))
        else:
            archive = file.member is not None
            by_hand = "" if archive else f", or download {file.url} to {path.parent}"
            yield Finding("weights", label, "missing", f"expected at {path}", f"run `toolkit fetch {name}`{by_hand}")


def _backbones() -> Iterator[Finding]:
    from toolkit.backbones import BACKBONES, backbone_names

    for name, spec in BACKBONES.items():
        advice = f"run `toolkit fetch {name}` on a machine with a network ({spec.download_size})"
        try:
            from toolkit.backbones.locations import in_cache

            there = in_cache(spec)
        except ImportError as error:
            detail = f"huggingface_hub is missing: {_one_line(error)}"
            yield Finding("backbone", name, "missing", detail, "pip install huggingface_hub")
            continue
        absent = [part for part, here in there.items() if not here]
        if absent:
            yield Finding("backbone", name, "missing", f"not in the cache: {', '.join(absent)}", advice)
        else:
            yield Finding("backbone", name, "ok", "in the cache")
    for name in sorted(set(backbone_names()) - set(BACKBONES)):
        yield Finding("backbone", name, "ok", "part of the package")


def _renderers() -> Iterator[Finding]:
    for name, (modules, advice) in RENDERERS.items():
        problem = next((problem for module in modules if (problem := _import_problem(module))), None)
        if problem is None:
            yield Finding("renderer", name, "ok", needed=name == "embree")
            continue
        status: Status = "missing" if isinstance(problem, ModuleNotFoundError) else "broken"
        yield Finding("renderer", name, status, _one_line(problem), advice, name == "embree")


def _codecs() -> Iterator[Finding]:
    advice = "pip install --force-reinstall av: its wheels contain an FFmpeg with this codec"
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
        advice = "pip install --force-reinstall vlasik-toolkit: its metadata lists no such task"
        yield Finding("task", DEFAULT_TASK, "missing", "", advice, True)


def _import_problem(module: str) -> BaseException | None:
    """The error of importing a module; a `ModuleNotFoundError` only if the whole package is absent."""
    package = module.split(".")[0]
    try:
        # Without this, albumentations looks up its latest version on the network.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import_module(package)
        import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != package:
            return ImportError(str(error))
        return error
    return None


def _version(module: str, owners: Mapping[str, list[str]]) -> str:
    """The version of the distribution that contains the module; empty if none claims it."""
    distributions = owners.get(module, [])
    return metadata.version(distributions[0]) if distributions else ""


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
