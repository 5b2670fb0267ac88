"""One module a subcommand, each with a click command named `command`, which `plimsoll.cli` imports when it is used."""
