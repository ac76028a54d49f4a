"""Run folders, what lies in them, and runs read from disk."""
