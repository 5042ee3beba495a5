"""A kill switch for trading fleets, over Redis: off when anything is unknown."""
