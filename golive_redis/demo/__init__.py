"""The demo: a fleet, a paper venue as witness, and three ways to stop it, on loopback."""
