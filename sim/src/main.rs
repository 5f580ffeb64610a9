//! The `fairpoll` command.

use std::process::ExitCode;

use clap::Parser;
use fairpoll_sim::cli::Arguments;

/// librdkafka allocates each record on one thread and frees it on another, where glibc's
/// allocator costs a quarter of the whole consuming; with `override` C code gets this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let exit = arguments.dispatch();
    ExitCode::from(exit as u8)
}
