"""The ``htp-opt`` command: reader, any pipeline, writer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from modelexport.cli.console import SHELLS, clean_up_when_terminated, completion_script, put, run_guarded, show_version
from modelexport.cli.parameters import ParamType

EPILOG = """\b
Examples:
  htp-opt model.onnx                              coverage by source, and the module tree
  htp-opt model.onnx -o tagged.onnx --sidecar     tag every node, write the hierarchy beside it
  htp-opt tagged.onnx -o plain.onnx --passes strip-tags
  htp-opt model.onnx -o t.onnx --passes 'scope-attribution,fallback-tagging,attribute-embedding{interop=torch}'
  htp-opt optimised.onnx -o t.onnx --reference tagged.onnx

\b
Quote pipelines: shells expand braces. Exit status: 0 fine, 1 findings (coverage, --check),
2 wrong usage, input or output, 3 a pass crashed, 130 interrupted.
"""


class PipelineText(ParamType[str]):
    """A pipeline; completes the name of the pass being typed."""

    name = "pipeline"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from modelexport.passes.pipeline.registry import Registry

        head, comma, last = incomplete.rpartition(",")
        registry = Registry.default()
        names = [*registry.pipelines, *registry.names]
        return [CompletionItem(f"{head}{comma}{name}") for name in names if name.startswith(last.lstrip())]


class PassName(PipelineText):
    """The name of a pass of the pipeline."""

    name = "pass"


class File(ParamType[str]):
    """A path, or ``-`` where that is allowed; opened by the command itself, so that all errors look the same."""

    name = "file"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


def _show_completion(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value and not ctx.resilient_parsing:
        put(completion_script(cli, "htp-opt", value))
        ctx.exit()


@click.command(
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "ignore_unknown_options": False},
)
@click.argument("input", type=File(), required=False)
@click.option("-o", "--output", type=File(), help="Where to write; '-' is stdout. Without it nothing is written.")
@click.option("--in-place", is_flag=True, help="Write over INPUT.")
@click.option("--passes", type=PipelineText(), help="What to run. [default: htp, or what --trace/--reference need]")
@click.option("--trace", type=File(), help="Recorded modules and values, from 'modelexport trace'.")
@click.option("--reference", type=File(), help="A tagged model or a sidecar to carry tags from.")
@click.option("--sidecar", is_flag=True, help="Also write <stem>_hierarchy.json beside the output.")
@click.option("--sidecar-path", type=File(), help="Write the sidecar there.")
@click.option("--report", type=click.Choice(["table", "json"]), help="Print the coverage report in this form.")
@click.option("--depth", type=click.IntRange(min=0), help="Levels of modules in the report; the root is 0.")
@click.option("--explain", type=PassName(), metavar="PASS", help="Print every decision of a pass, with its evidence.")
@click.option("--emit", type=click.Choice(["onnx", "text", "json"]), default="onnx", show_default=True,
              help="What is written: the model, its IR as text, or its hierarchy as JSON.")  # fmt: skip
@click.option("--external-data", type=click.Choice(["copy", "keep", "embed", "link"]), default="copy",
              show_default=True, help="What becomes of weights in files of their own.")  # fmt: skip
@click.option("--allow-outside-data", is_flag=True, help="Accept weights outside the model's folder.")
@click.option("--check", is_flag=True, help="Run onnx.checker on the result.")
@click.option("--keep-going", is_flag=True, help="Write also when coverage or --check finds something.")
@click.option("--dry-run", is_flag=True, help="Do everything but write.")
@click.option("--list-passes", is_flag=True, help="List passes with their options, and named pipelines.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), help="Form of --list-passes.")
@click.option("--print-ir-before", type=PassName(), metavar="PASS|all", multiple=True, help="Print the IR on stderr.")
@click.option("--print-ir-after", type=PassName(), metavar="PASS|all", multiple=True, help="Print the IR on stderr.")
@click.option("--time-passes", is_flag=True, help="Print time and memory of each pass on stderr.")
@click.option("--no-verify-each", is_flag=True, help="Don't verify the IR after each pass.")
@click.option("--reproducer", type=File(), help="If a pass fails, write the model before it, and FILE.sh.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("-v", "--verbose", count=True, help="Say what each pass did; twice: the debug log.")
@click.option("--debug", is_flag=True, help="Show tracebacks and the debug log.")
@click.option("--completion", type=click.Choice(SHELLS), is_eager=True, expose_value=False,
              callback=_show_completion, help="Print the completion script of a shell.")  # fmt: skip
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show it.")
def cli(**options: Any) -> int:
    """Say which nn.Module every operator of an ONNX model is from.

    Reads INPUT ('-' is stdin), runs a pipeline of passes over it, and writes the result to OUTPUT.
    """
    from modelexport.cli.opt.job import Job
    from modelexport.cli.opt.options import Options

    return Job(Options(**options)).run()


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    if args is None:
        clean_up_when_terminated()
    return run_guarded(cli, "htp-opt", args)


if __name__ == "__main__":
    sys.exit(main())
