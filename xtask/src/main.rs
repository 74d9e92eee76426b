//! Begun; see the manifest for its purpose.

fn main() {}
