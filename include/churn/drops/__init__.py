"""From a landing directory to snapshots: validate, load, snapshot."""
