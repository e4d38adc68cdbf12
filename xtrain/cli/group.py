"""The commands by name, each in a module of its own that is imported when it is called."""

import importlib

import click

from xtrain.errors import suggest

COMMANDS = {
    "run": "Train a recipe, or resume a run.",
    "eval": "Evaluate a run's checkpoint, under any backend.",
    "predict": "Say which class a run's model takes images for.",
    "convert": "Write a model in another framework's files, with its optimizer's state.",
    "check": "Validate a recipe; print it resolved, and what each backend makes of it.",
    "init": "Write a first recipe for a data set or a folder of images.",
    "schema": "The JSON Schema of a recipe, for editors.",
    "summary": "Layers, shapes, parameters and multiply-adds of a recipe's model.",
    "backends": "What is installed, which devices there are, how to get what is missing.",
    "recipes": "Recipes that come with xtrain.",
    "datasets": "Data sets and where they are looked for.",
    "data": "Counts, class balance and samples of a data set, before and after augmentation.",
    "models": "Model families and their options.",
    "parity": "Whether the numbers are the same under several backends, level by level.",
    "bisect": "Where two backends diverge first: step, phase, layer, tensor, probable cause.",
    "bench": "How fast a recipe trains under each backend, beside loops written by hand.",
    "curves": "Draw the losses and accuracies of several runs over one another.",
    "conformance": "Run the suite that every backend must pass.",
    "new-backend": "Write the package that a backend of yours begins with.",
}


class LazyGroup(click.Group):
    """Knows its commands' names and one-line helps; imports a command's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from its module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"xtrain.cli.{cmd_name.replace('-', '_')}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command names the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0]!r}; {suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from xtrain.system.distribution import version  # noqa: PLC0415 - help does without

        click.echo(f"xtrain, version {version()}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.option("--debug", is_flag=True, help="Show tracebacks; may stand anywhere.")
@click.option("-v", "--verbose", is_flag=True, help="Show what xtrain logs; may stand anywhere.")
def cli(debug: bool, verbose: bool) -> None:
    """One TOML recipe, every deep-learning framework, the same numbers."""
