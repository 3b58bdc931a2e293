"""The ledger in a database: SQLite in a file beside the gateway, or PostgreSQL for several replicas."""
