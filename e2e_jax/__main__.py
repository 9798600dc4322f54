"""python -m e2e_jax COMMAND: the same as the program `e2e-jax`, see `commands.console`."""

from e2e_jax.commands.console import main

if __name__ == "__main__":
    main()
