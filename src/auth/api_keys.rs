//! API keys: their names, their hashes and what each may do.
