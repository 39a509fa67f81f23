"""Workloads: the programs that a Run executes, as pods, as Ray jobs or as local processes.

`python -m gradatim.workloads <name>` starts one; `local.run_local` does so from Python. Nothing here knows Kubernetes: what a workload
needs is in its `RunConfig`, what it produced is in the artifact store.
"""
