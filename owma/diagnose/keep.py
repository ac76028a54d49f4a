"""What a diagnosis leaves in the folder of its run."""

import dataclasses
from pathlib import Path

from owma._internal.json import replace_text
from owma.config.diagnose import DiagnoseConfig
from owma.config.json import to_json
from owma.diagnose import page
from owma.diagnose.diagnosis import Diagnosis
from owma.runs.folder import RunFolder

FILE = "diagnosis.json"


def keep_diagnosis(found: Diagnosis, config: DiagnoseConfig) -> Path:
    """Write the figures, the findings and the page into the run's folder. **Returns:** the page."""
    folder = RunFolder(found.folder)
    content = {
        "verdict": found.verdict,
        "about": found.about,
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
        "figures": found.figures,
        "config": to_json(config),
    }
    folder.write_json(FILE, content)
    path = folder.path / page.FILE
    replace_text(path, page.diagnosis_page(found, config.thresholds))
    return path
