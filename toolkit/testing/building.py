"""Check in a fresh interpreter that importing and building a task is cheap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from toolkit.task import AttributeTask

HEAVY = ("torch", "torchvision", "diffusers", "transformers", "mediapipe", "cv2", "tensorflow", "jax", "onnxruntime")
"""Libraries that are slow to import. Tasks import them in `masker` and `pair_generator`."""

_TIMEOUT = 120

_SCRIPT = """
import importlib, importlib.util, json, os, sys
request = json.loads(sys.stdin.read())
seen = []
watching = True
def watch(event, arguments):
    if not watching:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.fsdecode(arguments[0])
        if building and not path.endswith((".py", ".pyc", ".so", ".pyd", ".pth")) and not os.path.isdir(path):
            seen.append("opens " + path)
    elif event in ("socket.connect", "socket.getaddrinfo", "urllib.Request", "subprocess.Popen", "os.system"):
        seen.append(event + " " + " ".join(map(str, arguments[1:2])))
building = False  # an import may read files, the constructor may not
sys.addaudithook(watch)
if importlib.util.find_spec(request["module"].partition(".")[0]) is not None:
    module = importlib.import_module(request["module"])
else:  # a module outside the path, such as a test
    spec = importlib.util.spec_from_file_location(request["module"], request["file"])
    module = sys.modules[request["module"]] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
loaded = [name for name in request["heavy"] if name in sys.modules]
task = module
for part in request["class"].split("."):
    task = getattr(task, part)
options = task.Options.model_validate_json(request["options"])
building = True
task(options)
watching = False
built = [name for name in request["heavy"] if name in sys.modules and name not in loaded]
print("\\n" + json.dumps({"loaded": loaded, "built": built, "seen": seen}))
"""


def building_problems(task: AttributeTask[Any]) -> list[str]:
    """One sentence for each forbidden action of importing the task's module or of building the task."""
    cls = type(task)
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        return [
            f"the class must be at the top level of an importable module, found {cls.__module__}.{cls.__qualname__}"
        ]
    request = {
        "module": cls.__module__,
        "file": getattr(sys.modules.get(cls.__module__), "__file__", None),
        "class": cls.__qualname__,
        "options": task.options.model_dump_json(),
        "heavy": HEAVY,
    }
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=environment,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return [f"importing and building the task must take moments; it was still running after {_TIMEOUT} s"]
    if ended.returncode:
        last = (ended.stderr.strip() or "no message").splitlines()[-1]
        return [f"the task must import and build in a fresh interpreter, found: {last}"]
    found = json.loads(ended.stdout.strip().splitlines()[-1])
    problems = [f"the import must be light, found that the module imports {name}" for name in found["loaded"]]
    problems += [f"the constructor must only store options, found that it imports {name}" for name in found["built"]]
    return problems + [f"the constructor must only store options, found that it {event}" for event in found["seen"]]
