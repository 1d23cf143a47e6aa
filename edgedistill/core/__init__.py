"""Files, text, prefetching and processes: nothing here knows the domain."""
