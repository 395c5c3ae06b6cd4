"""Where engines run. Read `backend.py` first: what a worker asks of such a place.

`local.py` runs them as processes of this machine, `nursery.py` makes that quick, `devices.py` looks
for GPUs.
"""
