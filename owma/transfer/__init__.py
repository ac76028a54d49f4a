"""One pretrained run, many tasks: values fitted from labels, planners judged by each task's own reward."""
