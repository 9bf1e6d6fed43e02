"""Stand-in of Fly.io: the edge, the gate that wakes Machines, and the Machines. See ``docs/standins/fly.md``."""
