"""python -m e2e_jax.build: see `commands.build`."""

from e2e_jax.commands.build import run

if __name__ == "__main__":
    run()
