"""Markets, agents and crash replays on a live chain. Uses plimsoll and is never used by it, but for `plimsoll demo`."""
