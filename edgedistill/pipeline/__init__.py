"""The engine that walks the stages: their table, the run folder, the plan, sweeps."""
