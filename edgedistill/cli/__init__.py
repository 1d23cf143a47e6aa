"""The commands of `edgedistill`: one module a verb.

Each has HELP (one line), options(parser), and run(args) -> exit code. What is heavy is imported
inside run: `edgedistill --help` loads no torch.
"""
