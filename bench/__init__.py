"""`make bench`: the gateway's table, measured on this machine in one run and recorded in bench/results/."""
