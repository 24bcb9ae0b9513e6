"""PR-Net: preference reasoning for personalised video highlight detection (Chen et al., ICCV 2021)."""
