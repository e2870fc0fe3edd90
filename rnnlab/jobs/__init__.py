"""Commands of rnnlab as jobs on this machine or a SLURM cluster, through submitit."""
