"""What every server of ours has before it: patient connections, names that it answers to, logs that are one line each."""
