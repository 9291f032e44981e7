"""Which GPU a stage gets, when it goes to the CPU instead, and what is remembered about each device."""
