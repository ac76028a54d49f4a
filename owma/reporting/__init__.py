"""Reports: one HTML file that holds everything that it shows."""

from owma.reporting.contents import Source as Source, build as build
from owma.reporting.explorer import explore as explore
from owma.reporting.flags import (
    eval_command as eval_command,
    sweep_command as sweep_command,
    train_command as train_command,
)
