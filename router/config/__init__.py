"""Files and environment become checked values here, and nowhere else."""
