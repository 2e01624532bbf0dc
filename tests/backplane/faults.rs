//! Nothing that was acknowledged is lost, and nothing comes twice.
