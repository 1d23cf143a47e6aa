"""Modules that are called like the verb whose name they bear.

`edgedistill.distill` is a package with the losses, and it is the verb. Python binds a submodule to
its name in the package as soon as anybody imports it, so a function of that name would be hidden
then: the module itself answers to both.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def call_as_verb(module: str) -> None:
    """Let the module `edgedistill.NAME` be called: the function NAME of the Python API does it.

    Args:
        module: its `__name__`; call this at its top.
    """
    sys.modules[module].__class__ = _Verb


class _Verb(ModuleType):
    def _function(self) -> Any:
        from edgedistill import HOMES

        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f"edgedistill.{HOMES[name]}"), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function()(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function())
