"""Adapters for other projects, tested with stand-ins that have the same options and files."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from toolkit.compare.external import Request
from toolkit.compare.pictures import padded, squared, unsquared
from toolkit.compare.tools import TOOLS, external
from toolkit.errors import InputError, ToolkitError

PROPAINTER = """
    import argparse, os, sys
    import cv2, numpy as np
    parser = argparse.ArgumentParser()
    for name in ("--video", "--mask", "--output"): parser.add_argument(name, required=True)
    parser.add_argument("--save_frames", action="store_true")
    args = parser.parse_args()
    assert os.path.isfile("weights/ProPainter.pth")
    frames = [cv2.imread(os.path.join(args.video, name)) for name in sorted(os.listdir(args.video))]
    masks = [cv2.imread(os.path.join(args.mask, name), 0) for name in sorted(os.listdir(args.mask))]
    assert len(frames) == len(masks) >= 2 and frames[0].shape[0] % 8 == frames[0].shape[1] % 8 == 0
    out = os.path.join(args.output, os.path.basename(args.video), "frames")
    os.makedirs(out)
    for index, (frame, mask) in enumerate(zip(frames, masks)):
        assert set(np.unique(mask)) <= {0, 255}
        frame[mask > 0] = (3, 2, 1)
        cv2.imwrite(os.path.join(out, str(index).zfill(4) + ".png"), frame)
"""

FGT = """
    import argparse, glob, os
    import cv2, numpy as np
    parser = argparse.ArgumentParser()
    for name in ("--opt", "--path", "--path_mask", "--outroot"): parser.add_argument(name, required=True)
    parser.add_argument("--imgH", type=int); parser.add_argument("--imgW", type=int)
    parser.add_argument("--vis_frame", action="store_true")
    args = parser.parse_args()
    assert os.path.isfile(args.opt)
    for folder in ("../LAFC/checkpoint", "../FGT/checkpoint"): assert len(os.listdir(folder)) == 2
    out = os.path.join(args.outroot, "frames"); os.makedirs(out)
    frames, masks = (sorted(glob.glob(os.path.join(place, "*.png"))) for place in (args.path, args.path_mask))
    assert len(frames) == len(masks) >= 8
    for index, (frame, mask) in enumerate(zip(frames, masks)):
        frame, mask = cv2.imread(frame), cv2.imread(mask, 0)
        assert frame.shape[:2] == (args.imgH, args.imgW)
        frame[mask > 0] = (3, 2, 1)
        cv2.imwrite(os.path.join(out, "{:05d}.png".format(index)), frame)
"""

PREPROCESS = """
    import argparse, os
    import cv2
    import util
    parser = argparse.ArgumentParser()
    for name in ("--data_path", "--save_dir", "--sd_version", "--inversion_prompt"): parser.add_argument(name)
    for name in ("--steps", "--save_steps", "--n_frames", "--H", "--W", "--batch_size"):
        parser.add_argument(name, type=int)
    args = parser.parse_args()
    assert os.environ["HF_HUB_OFFLINE"] == "1" and args.inversion_prompt == ""
    video, stem, index = cv2.VideoCapture(args.data_path), os.path.basename(args.data_path)[:-4], 0
    os.makedirs(os.path.join("data", stem))
    while True:
        read, frame = video.read()
        if not read: break
        assert frame.shape == (args.H, args.W, 3)
        cv2.imwrite(os.path.join("data", stem, "%05d.png" % index), frame); index += 1
    assert index == args.n_frames
    os.makedirs(os.path.join(args.save_dir, "sd_" + args.sd_version, stem, "steps_%d" % args.steps,
                             "nframes_%d" % args.n_frames, "latents"))
"""

PNP = """
    import argparse, glob, json, os, shutil
    import tokenflow_utils
    parser = argparse.ArgumentParser(); parser.add_argument("--config_path")
    config = json.load(open(parser.parse_args().config_path))
    stem = os.path.basename(config["data_path"])
    latents = os.path.join(config["latents_path"], "sd_" + config["sd_version"], stem,
                           "steps_%d" % config["n_inversion_steps"])
    (found,) = glob.glob(latents + "/*")
    count = min(int([part for part in found.split("/") if "nframes" in part][0].split("_")[1]), config["n_frames"])
    count -= count % config["batch_size"]
    out = os.path.join(config["output_path"] + "_pnp_SD_" + config["sd_version"], stem, config["prompt"][:240],
                       "attn_%s_f_%s" % (config["pnp_attn_t"], config["pnp_f_t"]),
                       "batch_size_%d" % config["batch_size"], str(config["n_timesteps"]), "img_ode")
    os.makedirs(out)
    for index in range(count):
        name = "%05d.png" % index
        shutil.copy(os.path.join(config["data_path"], name), os.path.join(out, name))
"""

RAVE = """
    import json, os, sys
    sys.path.append(os.getcwd())
    import cv2
    from PIL import Image
    import utils.constants as const
    import pipelines.sd_controlnet_rave
    config = json.load(open(sys.argv[1]))
    assert os.path.isfile("pretrained_models/zoedepth/ZoeD_M12_N.pt")
    video = cv2.VideoCapture(os.path.join(const.MP4_PATH, config["video_name"] + ".mp4"))
    frames = []
    for _ in range(int(video.get(cv2.CAP_PROP_FRAME_COUNT))):
        read, frame = video.read()
        assert read
        frames.append(Image.fromarray(frame[..., ::-1]))
    grids = len(frames) // config["grid_size"] ** 2
    frames = frames[:grids * config["grid_size"] ** 2]
    for index, frame in enumerate(frames): frame.putpixel((511, 511), (index * 8, 0, 0))
    out = os.path.join(const.OUTPUT_PATH, config["save_folder"], config["video_name"],
                       config["positive_prompts"] + "-00000")
    os.makedirs(out)
    frames[0].save(os.path.join(out, "x.gif"), save_all=True, append_images=frames[1:], optimize=False, loop=10000)
"""

FILES = {
    "propainter": {
        "inference_propainter.py": PROPAINTER,
        "weights/raft-things.pth": "",
        "weights/recurrent_flow_completion.pth": "",
        "weights/ProPainter.pth": "",
    },
    "fgt": {
        "tool/video_inpainting.py": FGT,
        "tool/configs/object_removal.yaml": "",
        "LAFC/flowCheckPoint/raft-things.pth": "",
        "LAFC/checkpoint/lafc.tar": "",
        "LAFC/checkpoint/lafc.yaml": "",
        "FGT/checkpoint/fgt.tar": "",
        "FGT/checkpoint/fgt.yaml": "",
    },
    "tokenflow": {"preprocess.py": PREPROCESS, "run_tokenflow_pnp.py": PNP, "tokenflow_utils.py": "", "util.py": ""},
    "rave": {
        "scripts/run_experiment.py": RAVE,
        "pipelines/sd_controlnet_rave.py": "",
        "utils/constants.py": """
            import os
            MP4_PATH = os.path.join(os.getcwd(), "data", "mp4_videos")
            OUTPUT_PATH = os.path.join(os.getcwd(), "results", "01-01-2024")
        """,
        "pretrained_models/zoedepth/ZoeD_M12_N.pt": "",
    },
}


@pytest.fixture
def checkout(tmp_path):
    """A function that writes a stand-in and returns its folder."""

    def write(name, **changed):
        root = tmp_path / f"the {name}'s -checkout"
        for path, text in (FILES[name] | changed).items():
            if text is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(textwrap.dedent(text))
        return root

    return write


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    """A function that builds a request of smoothly moving frames and masks, in a subfolder of the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(count=5, height=77, width=101, prompt="/a face, bare/clean"):
        y, x = np.mgrid[:height, :width]
        ramps = x * 150 // width, y * 250 // height, (x + y) // 8
        frames = [np.stack([ramps[0] + 4 * t, *ramps[1:]], axis=2).astype(np.uint8) for t in range(count)]
        masks = [(abs(x - 30 - t) < 9) & (abs(y - 40) < 6) for t in range(count)]
        work = Path("-work [x] 'y'.mp4")
        work.mkdir()
        request = Request(lambda: iter(frames), lambda: iter(masks), count, width, height, 25.0, prompt, "bad", work)
        return request, np.stack(frames), np.stack(masks)

    return make


def run(name, root, request):
    tool = external(name, root, sys.executable)
    tool.check()
    return np.stack(list(tool.run(request)))


@pytest.mark.parametrize("name", ["propainter", "fgt"])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_tools_that_fill_masks_change_nothing_else(checkout, request_of, name, count):
    request, frames, masks = request_of(count)
    made = run(name, checkout(name), request)
    assert np.array_equal(made, np.where(masks[..., None], np.array([1, 2, 3], np.uint8), frames))


@pytest.mark.parametrize(("count", "height", "width"), [(1, 77, 101), (9, 640, 360)])
def test_tokenflow_gets_squares_and_full_batches(checkout, request_of, count, height, width):
    request, frames, _ = request_of(count, height, width)
    made = run("tokenflow", checkout("tokenflow"), request)
    assert made.shape == frames.shape
    assert np.abs(made.astype(int) - frames).mean() < 3


def test_rave_gets_full_grids(checkout, request_of):
    request, frames, _ = request_of(11)
    made = run("rave", checkout("rave"), request)
    assert made.shape == frames.shape
    assert np.abs(made.astype(int) - frames).mean() < 12  # a GIF has 256 colours


@pytest.mark.parametrize("name", list(TOOLS))
def test_a_tool_that_fails_is_quoted(checkout, request_of, name):
    script = next(iter(FILES[name]))
    broken = "import sys; print('CUDA out of memory'); sys.exit(3)"
    request, _, _ = request_of()
    with pytest.raises(ToolkitError, match=rf"{name} ended with 3: CUDA out of memory"):
        run(name, checkout(name, **{script: broken}), request)


@pytest.mark.parametrize("name", list(TOOLS))
def test_an_incomplete_checkout_is_told_before_it_is_run(checkout, tmp_path, name):
    for missing in external(name, tmp_path, sys.executable).needed:
        path = missing.replace("*", "fgt" if missing.startswith("FGT") else "lafc")
        root = checkout(name)
        (root / path).unlink()
        with pytest.raises(InputError, match=rf"not a complete checkout of {name}"):
            external(name, root, sys.executable).check()
    with pytest.raises(InputError, match="found no folder"):
        external(name, tmp_path / "nowhere", sys.executable).check()
    with pytest.raises(InputError, match="expected a Python interpreter"):
        external(name, checkout(name), tmp_path / "python").check()


def test_results_that_do_not_fit(checkout, request_of):
    few = PROPAINTER.replace("in enumerate(zip(frames, masks))", "in enumerate(zip(frames[:2], masks))")
    request, _, _ = request_of()
    with pytest.raises(ToolkitError, match=r"wrote 2 frames .* the video has 5"):
        run("propainter", checkout("propainter", **{"inference_propainter.py": few}), request)


def test_results_of_another_size(checkout, request_of):
    other = PROPAINTER.replace(", frame)\n", ", frame[::2])\n")
    assert other != PROPAINTER
    request, _, _ = request_of()
    with pytest.raises(ToolkitError, match="returned frames of 104x40, expected 101x77"):
        run("propainter", checkout("propainter", **{"inference_propainter.py": other}), request)


def test_squares_of_another_size(checkout, request_of):
    other = RAVE.replace("Image.fromarray(frame[..., ::-1])", "Image.fromarray(frame[::2, :, ::-1])")
    other = other.replace("(511, 511)", "(0, 0)")
    request, _, _ = request_of()
    with pytest.raises(ToolkitError, match="rave returned frames of 512x256, expected 512x512"):
        run("rave", checkout("rave", **{"scripts/run_experiment.py": other}), request)


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_an_interpreter_that_cannot_be_started(checkout, request_of, tmp_path):
    (tmp_path / "python").write_text("no program")
    (tmp_path / "python").chmod(0o755)
    request, _, _ = request_of()
    with pytest.raises(ToolkitError, match=r"propainter cannot be started by .*python: Exec format error"):
        list(external("propainter", checkout("propainter"), tmp_path / "python").run(request))


def test_damaged_results(checkout, request_of):
    damaged = PROPAINTER + '\n        open(os.path.join(out, "0001.png"), "wb").write(b"no picture")\n'
    request, _, _ = request_of()
    with pytest.raises(ToolkitError, match="cannot be read"):
        run("propainter", checkout("propainter", **{"inference_propainter.py": damaged}), request)


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_an_interruption_ends_the_tool_and_its_children(checkout, request_of, tmp_path):
    sleeper = f"""
        import os, signal, subprocess, sys, time
        if len(sys.argv) == 2:
            subprocess.Popen([sys.executable, __file__, "a child", "that does not want to end"])
        else:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open({str(tmp_path / "pids")!r}, "w").write(str(os.getpid()))
        time.sleep(60)
    """
    root = checkout("rave", **{"scripts/run_experiment.py": sleeper})
    caller = f"""
        import sys
        from pathlib import Path
        import numpy as np
        from toolkit.compare.external import Request
        from toolkit.compare.tools import external
        from toolkit.interruption import termination_interrupts
        frames = [np.zeros((64, 64, 3), np.uint8)]
        work = Path({str(tmp_path / "w")!r}); work.mkdir()
        request = Request(lambda: iter(frames), None, 1, 64, 64, 25.0, "p", "", work)
        with termination_interrupts():
            list(external("rave", Path({str(root)!r}), Path(sys.executable)).run(request))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(caller)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not ((tmp_path / "pids").exists() and (tmp_path / "pids").read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int((tmp_path / "pids").read_text())
    process.send_signal(signal.SIGTERM)
    assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]
    deadline = time.monotonic() + 20
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 8), (640, 360), (33, 900)])
def test_padding_and_squaring_are_undone(height, width):
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x % 256, y % 256, 0 * x + 90], axis=2).astype(np.uint8)
    whole = padded(picture, 8)
    assert whole.shape[0] % 8 == whole.shape[1] % 8 == 0
    assert np.array_equal(whole[:height, :width], picture)
    back = unsquared(squared(picture, 512), height, width)
    assert back.shape == picture.shape
    if max(height, width) <= 512:
        assert np.abs(back.astype(int) - picture).mean() < 2
