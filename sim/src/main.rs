//! The `fairpoll` command.
fn main() {}
