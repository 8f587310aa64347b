"""What this folder can't do without."""

from __future__ import annotations

from modelexport.ir.errors import ConfigError, MissingExtraError


def need_torch(what: str) -> None:
    """Import torch for ``what``.

    Raises:
        MissingExtraError: it is not installed.
        ConfigError: it is installed and can't be imported.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise ConfigError(_broken(error)) from error
        raise MissingExtraError("torch", "torch", what) from error
    except (ImportError, OSError) as error:  # a library that it loads
        raise ConfigError(_broken(error)) from error


def _broken(error: Exception) -> str:
    return f"torch is installed but can't be imported ({' '.join(str(error).split())}); install it again"
