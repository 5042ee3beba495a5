"""What several kinds of tests share: the zygote, and what is started through it.

Importable as `kit` because `pythonpath` in pyproject.toml names this folder's parent. A fixture that
all tests may ask for belongs into tests/conftest.py, what only one folder needs into its own.
"""
