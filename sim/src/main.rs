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

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    /// Trap 14: librdkafka is C; it must allocate where Rust does.
    #[test]
    fn c_code_allocates_by_mimalloc_too() {
        let mut found = libc::Dl_info {
            dli_fname: std::ptr::null(),
            dli_fbase: std::ptr::null_mut(),
            dli_sname: std::ptr::null(),
            dli_saddr: std::ptr::null_mut(),
        };
        // SAFETY: `found` is a place for the result; a name found is NUL-terminated.
        let object = unsafe {
            assert_ne!(libc::dladdr(libc::malloc as *const libc::c_void, &mut found), 0);
            CStr::from_ptr(found.dli_fname).to_string_lossy().into_owned()
        };
        // mimalloc is linked into this program; the system's allocator lives in libc's object.
        assert!(!object.contains("libc.so"), "malloc comes from {object}");
    }
}
