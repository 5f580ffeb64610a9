//! The peer as a program gets it that says nothing of allocators.

fn main() -> std::process::ExitCode {
    fairpoll_peer_librdkafka::main()
}
