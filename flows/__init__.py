"""Runbooks: functions that read like what an operator would do."""
