"""What this folder can't do without."""

from __future__ import annotations

from modelexport.ir.errors import ConfigError, MissingExtraError


def need_torch(what: str) -> None:
    """Import torch for ``what``.

    Raises:
        MissingExtraError: it is not installed.
        ConfigError: it is installed and can't be imported, or something else goes by its name.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise ConfigError(_broken(error)) from error
        raise MissingExtraError("torch", "torch", what) from error
    except Exception as error:  # an import runs whatever is in the file, and libraries that it loads; it is chained
        raise ConfigError(_broken(error)) from error
    if not hasattr(torch, "nn") or not hasattr(torch, "Tensor"):
        where = torch.__file__ or next(iter(torch.__path__), "an empty folder")
        raise ConfigError(f"{where} goes by the name of torch and is not torch; remove it, or install torch again")


def _broken(error: Exception) -> str:
    told = " ".join(str(error).split()) or type(error).__name__
    return f"torch is installed but can't be imported ({told}); install it again"
