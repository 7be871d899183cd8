"""Runs a program in a group that ends with its flow: `python -m flows.outsider MODULE`."""

import runpy
import sys

from flows.group import lead

if __name__ == "__main__":
    _, module = sys.argv
    lead()
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__")
