//! Ctrl-C and the death of this process: neither may leave a server running.
//!
//! A handler only sets a flag; the waiting loops look at it and return, so that every guard's `Drop`
//! runs. On Linux children that must not outlive us are also tied to us by the kernel, for the case that
//! we are killed outright. On macOS the flag alone does it; on Windows the console ends its processes.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Result;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static DEFERRED: AtomicBool = AtomicBool::new(false);

/// The exit status shells use for a program that ended on Ctrl-C.
pub const INTERRUPTED_STATUS: u8 = 130;

/// Whether somebody pressed Ctrl-C or asked this process to end, unless that is deferred.
pub fn interrupted() -> bool {
    asked() && !DEFERRED.load(Ordering::Relaxed)
}

/// Whether somebody did, deferred or not.
pub fn asked() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// For a program that looks at [`asked`] and ends in its own way: until it stops deferring, all else
/// goes on.
pub fn defer(defers: bool) {
    DEFERRED.store(defers, Ordering::Relaxed);
}

/// An error once somebody did.
pub fn check() -> Result {
    if interrupted() { Err("interrupted".into()) } else { Ok(()) }
}

/// From now on Ctrl-C and the like are noted; first of all in `main`.
#[cfg(unix)]
pub fn watch() {
    extern "C" fn note(_signal: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let handler = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler) };
    }
}

/// Nothing: the console ends its processes.
#[cfg(not(unix))]
pub fn watch() {}

/// Has the kernel kill the child when the thread that spawns it ends; spawn from the main thread.
#[cfg(target_os = "linux")]
pub fn die_with_us(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;

    let parent = std::process::id();
    let tie = move || {
        // SAFETY: prctl with these arguments touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // We may have died before the tie was made.
        if std::os::unix::process::parent_id() == parent {
            Ok(())
        } else {
            Err(std::io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    // SAFETY: between fork and exec only prctl and getppid run; both are async-signal-safe.
    unsafe { command.pre_exec(tie) }
}

#[cfg(not(target_os = "linux"))]
pub fn die_with_us(command: &mut Command) -> &mut Command {
    command
}

/// Keeps the terminal's Ctrl-C from the child: we end it ourselves, after those who use it.
#[cfg(unix)]
pub fn own_group(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    command.process_group(0)
}

#[cfg(not(unix))]
pub fn own_group(command: &mut Command) -> &mut Command {
    command
}
