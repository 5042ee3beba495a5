"""The `golive` command. Importing this package imports nothing."""
