//! The `antiphon` command: everything is in the library beside it, where tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    antiphon_cli::run()
}
