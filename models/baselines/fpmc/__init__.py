"""FPMC: factorised personalised Markov chains (Rendle et al., WWW 2010)."""
