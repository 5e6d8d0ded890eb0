"""Import large packages in less time.

diffusers imports much that an edit never uses: the compiler of torch, the models of transformers, the statistics of
scipy, and all its own transformers. That takes 1.5 of 2.5 CPU seconds. `lean_diffusers` leaves it for later: what is
left out comes once it is used, here or in a program that calls the toolkit. Nothing else changes, and what a version of
diffusers imports in another way just takes its time.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"

LATER = (
    *(f"diffusers.models.{name}" for name in ("autoencoders", "controlnets", "transformers", "unets")),
    *("scipy.integrate", "scipy.stats", "torch.nn.attention.flex_attention"),
)
"""Modules and packages that diffusers imports, of which an edit uses nothing, or only some modules in the package."""

LATER_CLASSES = {
    "AutoImageProcessor": "models.auto.image_processing_auto",
    "PreTrainedModel": "modeling_utils",
    "PreTrainedTokenizer": "tokenization_python",
}
"""Classes of transformers that diffusers imports, mostly to test for instances, and their modules."""

_SET_BY_IMPORT = {"__class__", "__name__", "__package__", "__spec__", "__loader__", "__file__", "__cached__"}
"""Attributes of a module that has not run yet. The import system and `inspect` ask all modules for them."""

_lock = threading.RLock()


@contextmanager
def uncollected() -> Iterator[None]:
    """Turn the garbage collector off around imports.

    It would go through all that was imported again and again, and find nothing: a quarter of the CPU time of importing
    torch, diffusers and transformers.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def lean_diffusers() -> Iterator[None]:
    """Around the first import of diffusers' models or pipelines: leave what an edit does not use for later.

    Modules that other threads import in the meantime are imported as always.
    """
    with _lock, uncollected():
        with _refused(COMPILER), suppress(ImportError):
            import_module("diffusers.utils.torch_utils")  # has a substitute for what it imports from there
        with _deferred(LATER), _undecorated(), _class_stand_ins():
            _ask_compiler_later()
            yield


# Modules


class _Finder(MetaPathFinder):
    """Sees the imports of the thread that made it before all other finders do."""

    def __init__(self) -> None:
        self._thread: int | None = threading.get_ident()

    @property
    def here(self) -> bool:
        """Whether this is that thread, and the finder still in use."""
        return self._thread == threading.get_ident()

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        self._thread = None


class _refused(_Finder):
    """Let the import of a module fail."""

    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if self.here and name == self._name:
            raise ModuleNotFoundError(f"{name} is not needed", name=name)


class _deferred(_Finder):
    """Run the code of modules at the first use of a name in them."""

    def __init__(self, names: Sequence[str]):
        super().__init__()
        self._names = names

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if self.here and name in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader, self)
        return spec


class _DeferringLoader(Loader):
    """Makes a `_DeferredModule` instead of running the module.

    Unlike `importlib.util.LazyLoader`, it lets the module be imported any number of times, and threads use it together.
    """

    def __init__(self, loader: Loader, finder: _Finder):
        self._loader, self._finder = loader, finder
        self._lock, self._running = threading.RLock(), False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        module.__spec__.loader_state = self
        module.__class__ = _DeferredModule

    def may_pass(self, name: str) -> bool:
        """Whether an attribute can be had before the module runs: those that its import has set.

        Parts of a package are imported before the package itself only in the block.
        """
        return name in _SET_BY_IMPORT or (name == "__path__" and self._finder.here)

    def run(self, module: ModuleType) -> None:
        """Run the module, unless that has been done; what uses it meanwhile in other threads waits."""
        with self._lock:
            if not self._running and type(module) is _DeferredModule:
                self._running = True
                try:
                    self._loader.exec_module(module)
                finally:
                    self._running = False
                module.__class__ = ModuleType  # type: ignore[assignment]  # the checker holds it to be its class


class _DeferredModule(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        state = ModuleType.__getattribute__(self, "__spec__").loader_state
        if not state.may_pass(name):
            state.run(self)
        return ModuleType.__getattribute__(self, name)


# Names


@contextmanager
def _undecorated() -> Iterator[None]:
    """Let `torch.compiler.disable` import nothing: nothing is compiled before something else imports the compiler."""
    import torch

    real = torch.compiler.disable
    later: Any = getattr(import_module("torch._compile"), "_disable_dynamo", None)

    def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
        if fn is None:
            return partial(disable, recursive=recursive, reason=reason)
        disabled = later(fn, recursive)  # as torch decorates its own functions

        @wraps(fn)
        def function(*args: Any, **kwargs: Any) -> Any:
            return (disabled if COMPILER in sys.modules else fn)(*args, **kwargs)

        return function

    if later is None or COMPILER in sys.modules:
        yield
        return
    torch.compiler.disable = disable
    try:
        yield
    finally:
        torch.compiler.disable = real


def _ask_compiler_later() -> None:
    """Let diffusers tell that a module is not compiled without importing the compiler."""
    utils: Any = import_module("diffusers.utils.torch_utils")
    real: Any = getattr(utils, "is_compiled_module", None)

    def is_compiled_module(module: Any) -> bool:
        return COMPILER in sys.modules and real(module)

    if real is not None and COMPILER not in sys.modules:
        utils.is_compiled_module = is_compiled_module


class _ClassStandIn:
    """Stands for a class whose module is imported once it is used. Until then, nothing is an instance of it."""

    def __init__(self, module: str, name: str):
        self.__module, self.__name = module, name

    def __class(self) -> Any:
        return getattr(import_module(self.__module), self.__name)

    def __instancecheck__(self, instance: object) -> bool:
        return self.__module in sys.modules and isinstance(instance, self.__class())

    def __subclasscheck__(self, subclass: type) -> bool:
        return self.__module in sys.modules and issubclass(subclass, self.__class())

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (self.__class(),)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__class()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__class(), name)

    def __or__(self, other: Any) -> Any:
        return self.__class() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.__class()


@contextmanager
def _class_stand_ins() -> Iterator[None]:
    """Let imports from transformers take stand-ins of classes whose modules are not imported yet."""
    import transformers

    with ExitStack() as stack:
        for name, module in LATER_CLASSES.items():
            home = f"{transformers.__name__}.{module}"
            if home not in sys.modules and name not in vars(transformers):
                stand_in = vars(transformers)[name] = _ClassStandIn(home, name)
                stack.callback(_forget, vars(transformers), name, stand_in)
        yield


def _forget(names: dict[str, Any], name: str, value: object) -> None:
    """Remove a name, unless it has got another value."""
    if names.get(name) is value:
        del names[name]
