//! The `dipper` program.

fn main() {}
