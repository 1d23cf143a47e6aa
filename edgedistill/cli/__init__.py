"""The commands of `edgedistill`: one module a verb.

Each has options(parser), and run(args) -> exit code, which calls one function of edgedistill.api and prints what it
returns; verbs.py has their texts. What is heavy is imported inside run: `edgedistill --help` loads no torch.
"""
