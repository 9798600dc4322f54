"""python -m e2e_jax.display: see `commands.display`."""

from e2e_jax.commands.display import run

if __name__ == "__main__":
    run()
