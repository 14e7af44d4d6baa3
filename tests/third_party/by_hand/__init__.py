"""What somebody else adds to Stepwatch: a workload, a backend and a report format. Importing it imports nothing."""
