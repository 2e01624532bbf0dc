"""The parts of scripts/soak. `judging` decides, `drawing` draws; all others talk to servers that the soak has started."""
