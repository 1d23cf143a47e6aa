"""Boards over SSH: enrol, send, build, verify, time, switch, roll back, one board or a fleet."""
