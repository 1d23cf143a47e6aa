"""Which board this is, and what its sensors say."""
