"""What is measured, by idea; `claim.py` beside this folder gathers it."""
