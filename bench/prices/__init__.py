"""What an hour of a machine costs: dated, sourced rows."""
