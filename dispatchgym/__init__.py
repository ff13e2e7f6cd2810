"""dispatchgym."""
