"""Runs and attempts: when one starts, which attempt comes next, when it is over.

Shared by every kind that runs something. Pure: what was observed goes in, the next record and the actions come out.
"""
