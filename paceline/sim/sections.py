"""Help of a command with many options, section by section, and each generator's on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from paceline.policies import describe
from paceline.sim.spec import KINDS


class Sectioned(click.Command):
    """A command whose options stand under headings."""

    sections: Mapping[str, tuple[str, ...]] = {
        "Workload": (
            "--workload", "--rate", "--gaps", "--gaps-cv", "--concurrency",
            "--trace", "--trace-block-size", "--skip-bad",
        ),
        "What is compared, in every combination": (
            "--policy", "--no-proxy", "--backends", "--kv-tokens", "--seeds",
        ),
        "Engines": (
            "--engine", "--preset", "--calibration", "--block-size", "--max-batched-tokens",
            "--max-seqs", "--engine-policy", "--sglang",
        ),
        "Results": (
            "--json", "--csv", "--parquet", "--per-request", "--report", "--perfetto", "--explain",
            "--slo-ttft", "--slo-tpot", "--slo-e2e",
        ),
        "Execution": ("--jobs", "--ray", "--help"),
    }  # fmt: skip
    """Headings, and the options below each."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One list a section; those of a generator are its settings with its own defaults."""
        records = {p.opts[-1]: p.get_help_record(ctx) for p in self.get_params(ctx)}
        for heading, options in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([r for name in options if (r := records[name]) is not None])
        for kind in KINDS:
            with formatter.section(f"--workload {kind}"):
                formatter.write_dl(list(_settings(kind)))


def _settings(kind: str) -> Iterator[tuple[str, str]]:
    for setting in describe.settings(KINDS[kind]):
        default = (setting.default or "").strip('"')
        yield f"--{setting.name}", f"{setting.doc}  [default: {default}]"
