"""`toolkit completion`."""

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_TOOLKIT_COMPLETE"  # by which click tells a request for completions from a command


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script with which a shell completes commands and options.

    \b
    Examples:
      eval "$(toolkit completion bash)"            # in ~/.bashrc
      eval "$(toolkit completion zsh)"             # in ~/.zshrc
      toolkit completion fish > ~/.config/fish/completions/toolkit.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    click.echo(kind(click.get_current_context().find_root().command, {}, "toolkit", VARIABLE).source(), nl=False)
