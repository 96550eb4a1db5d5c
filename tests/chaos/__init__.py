"""The operator under faults: two replicas, a simulated cluster, a seeded schedule of faults, and what must hold.

`python -m tests.chaos --seed 7` runs it; the same seed gives the same faults and the same users. What must hold is
read from the API server's audit log (`invariants.py`), never from the operator's own.
"""
