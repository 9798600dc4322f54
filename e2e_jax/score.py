"""python -m e2e_jax.score: see `commands.score`."""

from e2e_jax.commands.score import run

if __name__ == "__main__":
    run()
