"""All that knows Redis: addresses, connections, keys, scripts, pushes.

Here belong the atomic steps of the protocol, one method and one Lua file each, and how a reply becomes
a frozen value. Nothing is verified here, and nothing is decided: bytes go to `records` and `core`. Only
this package, the redis check and the embedded test server import `redis`. Start with `store.store`,
then `link` (the socket) and `replies` (what comes back).
"""
