"""Names of classes as words."""

import re


def kebab_case(name: str) -> str:
    """OnlineAdaptation -> online-adaptation, FKSteering -> fk-steering, CEM -> cem."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
