"""The files of an adapter, put on the base model that they were trained for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tunesmith.engine.methods.vocabulary import fit_adapter
from tunesmith.errors import ModelError
from tunesmith.models.adapters import named_base
from tunesmith.models.files import check_model_files

if TYPE_CHECKING:
    from peft import PeftModel

# How PyTorch says that a tensor of a file has no place in a module.
_SHAPES: Final = re.compile(
    r"size mismatch for (?:base_model\.model\.)?(\S+): .*?Size\((\[.*?\])\).*?Size\((\[.*?\])\)"
)


@contextmanager
def known_notices() -> Generator[None]:
    """Hide peft's notices about an old name in transformers and about ranks of fused experts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        warnings.filterwarnings("ignore", ".*(rank|alpha)_pattern keys did not", RuntimeWarning)
        yield


def put_on(model: Any, folder: Path, **how: Any) -> PeftModel:
    """`model` with this adapter beside its weights; `how` goes to PEFT.

    The files are checked first, and a base without the rows of new tokens gets them. ModelError
    where the adapter is of another base: it names a layer and both shapes.
    """
    from peft import PeftModel

    check_model_files(folder)
    fit_adapter(model, folder)
    try:
        with known_notices():
            return PeftModel.from_pretrained(model, str(folder), **how)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"The adapter in {folder} does not fit the base model: {_what(error)}",
            hint=f"Use it with the base model that it was trained on{named_base(folder)}.",
        ) from error


def _what(error: Exception) -> str:
    shapes = _SHAPES.search(str(error))
    if shapes is None:
        return str(error).splitlines()[0]
    layer, there, here = shapes.groups()
    return f"{layer} has the shape {there} in its files and {here} on this base."
