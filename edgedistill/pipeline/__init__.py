"""The engine that runs the stages: their table, the run folder, the plan, sweeps."""
