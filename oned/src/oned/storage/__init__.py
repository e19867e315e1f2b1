"""The database: schema, log, hard state, snapshots. What differs between engines stays here."""
