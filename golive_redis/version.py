"""The version: one place, checked against pyproject.toml by a test."""

VERSION = "0.1.0"
