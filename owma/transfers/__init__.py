"""One pretrained run, many tasks: values fitted from labels, planners judged by each task's own reward."""

from owma.transfers.inference import TaskInference as TaskInference
from owma.transfers.outcome import draw_transfer as draw_transfer, transfer as transfer
from owma.transfers.summary import (
    doubtful_transfers as doubtful_transfers,
    summarise_ogbench as summarise_ogbench,
    summarise_transfer as summarise_transfer,
    transfer_markdown as transfer_markdown,
    transfer_tables as transfer_tables,
)
from owma.transfers.tasks import TransferTask as TransferTask, transfer_tasks as transfer_tasks
