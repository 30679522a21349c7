"""The group commit: records of calls become durable together, each behind the fence."""
