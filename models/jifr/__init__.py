"""JIFR: personalised multimedia item and key frame recommendation (Wu et al., IJCAI 2019)."""
