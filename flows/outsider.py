"""Runs a program in a group that ends with its starter: `python -m flows.outsider MODULE ...`."""

import runpy
import sys

from flows.group import lead

if __name__ == "__main__":
    _, module, *arguments = sys.argv
    lead(is_at_work=True)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")
