"""Training steps with a known amount of extra work, as files of a user's own: what the gate is tried on."""
