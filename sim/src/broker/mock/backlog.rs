//! How many connections may wait to be accepted.
//!
//! The mock cluster lets five wait at each broker. Of fifty clients that start together the kernel drops what is
//! more, and their own kernel tries again after a second: a start in `multi` took that second in 18 runs of
//! 24. Whoever calls `listen` on a socket that listens already replaces the number.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;

/// Kafka's own default is 50 (`socket.listen.backlog.size`), and it accepts on a thread that does nothing else.
const CONNECTIONS: c_int = 1024;

/// Makes room at every socket of this process that listens. In a broker's process they are all the mock's.
pub(super) fn lengthen() {
    for socket in listening() {
        // SAFETY: no memory is passed. Where it fails, fewer may wait: that is no reason not to start.
        unsafe { libc::listen(socket, CONNECTIONS) };
    }
}

/// The sockets of this process that listen.
pub(super) fn listening() -> Vec<RawFd> {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers = descriptors.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(|&descriptor| listens(descriptor)).collect()
}

fn listens(descriptor: RawFd) -> bool {
    let mut answer: c_int = 0;
    let mut bytes = libc::socklen_t::try_from(size_of::<c_int>()).expect("four");
    let place = (&raw mut answer).cast::<c_void>();
    // SAFETY: `place` has room for the `bytes` that are announced; what is no socket is an error.
    let code =
        unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, place, &raw mut bytes) };
    code == 0 && answer != 0
}
