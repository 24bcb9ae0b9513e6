"""TransGRec: learning to transfer graph embeddings (Wu et al., SIGIR 2020)."""
