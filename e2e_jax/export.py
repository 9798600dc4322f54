"""python -m e2e_jax.export: see `commands.export`."""

from e2e_jax.commands.export import run

if __name__ == "__main__":
    run()
