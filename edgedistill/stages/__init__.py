"""One thin file a stage: inputs from the context, a call into the domain, an artifact out."""
