//! The two checkers against each other and against histories with a planted mistake.
