"""The classifiers' configs, one file each; `e2e_jax.configs` in Python."""
