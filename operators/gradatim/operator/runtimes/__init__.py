"""Where attempts execute: one Protocol (`base`), one module per runtime.

Used by the loop through `base.Runtime`. The only place that knows a Jobs API; it decides nothing about retries, deadlines or verdicts.
"""
