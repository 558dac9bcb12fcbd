//! An interruption is kept for a program that ends in its own way. Alone in its process, whose signals
//! it takes.
#![cfg(unix)]

use durstream_tests::signals;

#[test]
fn an_interruption_waits_for_a_program_that_defers_it() {
    signals::watch();
    signals::defer(true);
    // SAFETY: the handler of this signal only stores to an atomic.
    assert_eq!(unsafe { libc::raise(libc::SIGINT) }, 0);
    assert!(signals::asked() && !signals::interrupted() && signals::check().is_ok());
    signals::defer(false);
    assert!(signals::interrupted() && signals::check().is_err());
}
