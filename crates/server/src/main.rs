//! The `dipper` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    dipper_server::cli::main()
}
