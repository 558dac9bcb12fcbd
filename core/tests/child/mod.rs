//! What a forked child says.
#![allow(unsafe_code, reason = "fork, and what goes with it")]

use std::io::Read;
use std::os::fd::FromRawFd;

/// A child that takes longer hangs; it is ended and says nothing.
const LIMIT_SECONDS: u32 = 20;

pub(crate) fn in_child(say: impl FnOnce() -> String) -> String {
    let mut ends = [0; 2];
    // SAFETY: plain libc calls; the child writes to its end of the pipe and leaves.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        let child = libc::fork();
        if child == 0 {
            libc::alarm(LIMIT_SECONDS);
            let text = say();
            libc::write(ends[1], text.as_ptr().cast(), text.len());
            libc::_exit(0);
        }
        libc::close(ends[1]);
        let mut text = String::new();
        std::fs::File::from_raw_fd(ends[0]).read_to_string(&mut text).unwrap();
        libc::waitpid(child, std::ptr::null_mut(), 0);
        text
    }
}
