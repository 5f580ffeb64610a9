//! The peer with Fairpoll's allocator, for C code too: what the scheduler costs is then all of the difference.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    fairpoll_peer_librdkafka::main()
}
