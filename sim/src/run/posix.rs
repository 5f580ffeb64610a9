//! The few system calls that the standard library does not offer, with safe signatures.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How a process ended, and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Exit code, if it exited by itself.
    pub(crate) code: Option<i32>,
    /// Signal, if one killed it.
    pub(crate) signal: Option<i32>,
    /// User and system CPU time of the process and of the children it waited for, ms.
    pub(crate) cpu_ms: u64,
}

impl Exit {
    /// `exited with code 3`, `was killed by signal 9 (SIGKILL)`.
    pub(crate) fn describe(self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}{}", signal_name(signal)),
            (None, None) => "ended in an unknown way".to_owned(),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => " (SIGHUP)",
        libc::SIGINT => " (SIGINT)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGFPE => " (SIGFPE)",
        libc::SIGKILL => " (SIGKILL)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGPIPE => " (SIGPIPE)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}

/// Makes the command's process the leader of a group of its own, and has the kernel kill it when
/// the *thread* that spawned it ends: spawn from the main thread only.
pub(crate) fn tie_to_this_thread(command: &mut Command) {
    let parent = std::process::id().cast_signed();
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes only async-signal-safe system calls and
    // does not allocate.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the request above was in force; then nobody would
            // ever send the signal.
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

/// Has the kernel give this process, and what it starts, no transparent huge pages from now on. An allocator with a
/// heap for each thread asks for them, and then a thread that holds a few kilobytes takes 2 MiB.
pub(crate) fn renounce_huge_pages() -> io::Result<()> {
    // SAFETY: this option takes numbers only; those that mean nothing must be 0.
    let answer = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a child has ended. It stays a zombie, so its pid and group cannot be reused.
pub(crate) fn has_ended(pid: i32) -> bool {
    // SAFETY: an all-zero siginfo_t is a valid value of this plain C struct.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is valid for the call to fill; the options ask for no side effect.
    let answer = unsafe { libc::waitid(libc::P_PID, pid.unsigned_abs(), &mut info, options) };
    // SAFETY: after a successful call si_pid is set, to 0 where nothing has ended.
    answer != 0 || unsafe { info.si_pid() } != 0
}

/// Waits for a child to end and releases its pid.
pub(crate) fn reap(pid: i32) -> Exit {
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value of this plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both out-parameters are valid for the call to fill.
        let answer = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
        if answer == pid {
            break;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Exit { code: None, signal: None, cpu_ms: 0 };
        }
    }
    let cpu_ms = millis(usage.ru_utime) + millis(usage.ru_stime);
    if libc::WIFEXITED(status) {
        Exit { code: Some(libc::WEXITSTATUS(status)), signal: None, cpu_ms }
    } else {
        Exit { code: None, signal: Some(libc::WTERMSIG(status)), cpu_ms }
    }
}

fn millis(time: libc::timeval) -> u64 {
    time.tv_sec.unsigned_abs() * 1000 + time.tv_usec.unsigned_abs() / 1000
}

/// Sends a signal to a process group. A group that is already gone is no error.
pub(crate) fn signal_group(leader: i32, signal: i32) {
    // A leader of 0 or 1 would address our own group or every process there is.
    assert!(leader > 1, "a worker's pid is never {leader}");
    // SAFETY: no memory is involved.
    unsafe { libc::kill(-leader, signal) };
}

/// How many file descriptors a process has open.
pub(crate) fn open_descriptors(pid: i32) -> io::Result<u64> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

/// Sets how many file descriptors a process may have open, and tells how many it might before. What it has
/// open stays so.
pub(crate) fn limit_descriptors(pid: i32, limit: u64) -> io::Result<u64> {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the old limit is valid for the call to fill; no new one is set.
    if unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let after = libc::rlimit { rlim_cur: limit.min(before.rlim_max), rlim_max: before.rlim_max };
    // SAFETY: the new limit is valid for the call to read; the old one is not asked for.
    if unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &after, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(before.rlim_cur)
}

/// Columns of the terminal on standard output, if it is one.
pub(crate) fn terminal_columns() -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills the winsize it is given and touches nothing else.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    (answer == 0 && size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_described_in_words() {
        let exit = |code, signal| Exit { code, signal, cpu_ms: 0 }.describe();
        assert_eq!(exit(Some(3), None), "exited with code 3");
        assert_eq!(exit(None, Some(9)), "was killed by signal 9 (SIGKILL)");
    }

    #[test]
    fn a_child_is_seen_to_have_ended_before_it_is_reaped() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        tie_to_this_thread(&mut command);
        #[expect(clippy::zombie_processes, reason = "reap() waits for it")]
        let child = command.spawn().expect("sh exists");
        let pid = child.id().cast_signed();
        while !has_ended(pid) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(has_ended(pid), "looking does not consume the exit");
        let exit = reap(pid);
        assert_eq!((exit.code, exit.signal), (Some(7), None));
    }

    #[test]
    fn a_childs_limit_of_descriptors_is_set_and_given_back() {
        let mut command = Command::new("sleep");
        command.arg("60");
        tie_to_this_thread(&mut command);
        #[expect(clippy::zombie_processes, reason = "reap() waits for it")]
        let child = command.spawn().expect("sleep exists");
        let pid = child.id().cast_signed();
        assert!(open_descriptors(pid).expect("it runs") >= 1);
        let before = limit_descriptors(pid, 17).expect("it is ours");
        let soft = || {
            let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
            let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
            line.split_whitespace().nth(3).expect("a limit").to_owned()
        };
        assert_eq!(soft(), "17");
        assert_eq!(limit_descriptors(pid, before).expect("it is ours"), 17);
        assert_ne!(soft(), "17");
        signal_group(pid, libc::SIGKILL);
        assert_eq!(reap(pid).signal, Some(libc::SIGKILL));
        assert!(limit_descriptors(pid, 17).is_err(), "it is gone");
    }
}
