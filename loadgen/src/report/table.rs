//! The table at the end.
