"""Programs that only tests run: a worker, a heartbeat, a faulty network. They go through the zygote."""
