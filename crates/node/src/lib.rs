//! Begun; see the crate's manifest for its purpose.
