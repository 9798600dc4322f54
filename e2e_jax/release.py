"""python -m e2e_jax.release: see `commands.release`."""

from e2e_jax.commands.release import run

if __name__ == "__main__":
    run()
