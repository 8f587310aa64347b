"""How exporters spell modules in names: one scheme a file, behind :class:`.interface.Scheme`."""

if __name__ != "modelexport.passes.evidence.names.schemes":
    raise ImportError(f"import this package as modelexport.passes.evidence.names.schemes, not as {__name__}")
