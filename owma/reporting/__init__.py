"""Reports: one HTML file that holds everything that it shows."""

from owma.reporting.contents import Source as Source, build as build
from owma.reporting.derived import remake as remake, stale as stale
from owma.reporting.explorer import explore as explore
from owma.reporting.flags import (
    eval_command as eval_command,
    sweep_command as sweep_command,
    train_command as train_command,
)
from owma.reporting.summaries import skew_summary as skew_summary, sweep_summary as sweep_summary
