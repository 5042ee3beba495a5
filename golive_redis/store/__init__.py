"""All that knows Redis: connections, keys, scripts, and one typed method per atomic step."""
