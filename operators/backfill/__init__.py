"""The archive by night: what has no current result, in which order, in which shards, in which hours."""
