"""What `oned` costs and how fast it is, beside its peers on the same machine in the same run."""
