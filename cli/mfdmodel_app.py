"""The command `mfdmodel`: train a model on a store, evaluate it, and show what came out."""

from __future__ import annotations

import typer

from cli.console import add_version
from cli.embed_command import add_embed
from cli.impute_command import add_impute
from cli.independence_command import add_independence
from cli.run_commands import add_run_commands
from cli.sweep_command import add_sweep
from cli.train_command import add_train
from cli.truth_command import add_truth

# torch, lightning and scikit-learn take seconds to import: each command imports what it needs, `--help` nothing

app = typer.Typer(
    name="mfdmodel",
    help="Learn which DNA sequence carries which experiment's peaks, with biology and technique kept apart.\n\n"
    "A run begins with a store that [bold]mfdstore build[/bold] made: [bold]train[/bold] fits a model to it, "
    "[bold]evaluate[/bold] scores it on windows that it has never seen, [bold]report[/bold] writes a page of it.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


add_version(app, "mfdmodel")
add_train(app)
add_run_commands(app)
add_independence(app)
add_embed(app)
add_impute(app)
add_sweep(app)
add_truth(app)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
