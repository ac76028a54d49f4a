"""The exceptions that a command turns into one sentence and exit code 2."""


class OwmaError(ValueError):
    """Something the user can mend: the message names the cause and the remedy in one or two sentences."""


class DatasetError(OwmaError):
    """A dataset that is missing, unreadable, or not of a supported form."""


class CheckpointError(OwmaError):
    """A checkpoint that is missing, damaged, or of another configuration."""


class ConfigError(OwmaError):
    """A configuration value outside its range, or two values that contradict each other."""
