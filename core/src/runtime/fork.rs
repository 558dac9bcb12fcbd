//! The state that a fork leaves: a child with one thread, in which every lock and every lazy value
//! that another thread was at work on stays as it was, for good.
//!
//! Three rules keep a child from waiting for threads that it does not have:
//! - A handle knows the [`generation`] it was made in, and is refused in another one.
//! - A process-wide value is [`PerProcess`], atomic, or used inside [`uncut`] alone, which a fork
//!   waits for. That includes the lazy values of libraries (docs/adr/runtime-and-fork.md).
//! - Inside [`uncut`] nothing waits, no lock is taken that a forking thread can hold, and no code of
//!   the host's runs, since a fork stands still for it.
#![allow(unsafe_code, reason = "the handlers, and the values that a fork replaces")]

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use crate::runtime::chance::{Chance, real_now};

static GENERATION: AtomicU64 = AtomicU64::new(0);
/// Not a `Once`: a child that was forked in the middle of one would wait for its end.
static REGISTERED: AtomicBool = AtomicBool::new(false);
/// Threads inside [`uncut`].
static INSIDE: AtomicU64 = AtomicU64::new(0);
/// Threads that are about to fork.
static FORKING: AtomicU64 = AtomicU64::new(0);

/// Threads inside [`uncut_at_first`].
static BEGINNING: AtomicU64 = AtomicU64::new(0);

/// When the last of these threads began, in milliseconds of the system's clock.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// How long a fork waits for threads inside [`uncut`], and how long those wait for a fork. It takes
/// milliseconds; after this both go on all the same, since a host that cannot fork is worse off
/// than a child that may hang.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long a fork waits for work that holds locks at its beginning only.
const BEGINNING_WAIT: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_micros(20);

thread_local! {
    /// How deep this thread is inside [`uncut`].
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// This thread is forking: the library's calls in a host's own handlers wait for no fork.
    static FORKS: Cell<bool> = const { Cell::new(false) };
}

/// The fork generation this thread runs in; a handle of another one must not be used.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// The fork generation for a new handle: from here on a fork is noticed.
pub(crate) fn made_in() -> u64 {
    register();
    generation()
}

/// Runs work that no fork may cut in half: a fork by another thread waits for its end.
#[doc(hidden)] // for the bindings, which have lazy values of their own
pub fn uncut<T>(work: impl FnOnce() -> T) -> T {
    let _inside = Inside::enter();
    work()
}

/// Runs work that takes its time, and takes locks only where it begins: glibc's `getaddrinfo`,
/// which holds a lock while it reads `resolv.conf`. A fork waits for the beginning.
pub(crate) fn uncut_at_first<T>(work: impl FnOnce() -> T) -> T {
    uncut(|| {
        BEGAN.store(Chance::System.unix_ms(), Ordering::SeqCst);
        BEGINNING.fetch_add(1, Ordering::SeqCst);
    });
    let result = work();
    let less = |count: u64| count.checked_sub(1); // in a child of this very thread it is 0
    let _ = BEGINNING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    result
}

/// Counts this thread among those a fork waits for.
struct Inside;

impl Inside {
    fn enter() -> Self {
        register();
        let depth = DEPTH.get();
        DEPTH.set(depth + 1);
        if depth > 0 {
            return Inside; // this thread is counted already
        }
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) > 0 && !FORKS.get() {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            let entered = wait_until(LONGEST_WAIT, || {
                INSIDE.fetch_add(1, Ordering::SeqCst);
                let is_free = FORKING.load(Ordering::SeqCst) == 0;
                INSIDE.fetch_sub(u64::from(!is_free), Ordering::SeqCst);
                is_free
            });
            INSIDE.fetch_add(u64::from(!entered), Ordering::SeqCst);
        }
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Waits until a condition holds; whether it did in time.
fn wait_until(longest: Duration, is_so: impl Fn() -> bool) -> bool {
    let started = real_now();
    loop {
        match is_so() {
            true => return true,
            false if started.elapsed() >= longest => return false,
            false => std::thread::sleep(PAUSE),
        }
    }
}

/// This thread's share of [`INSIDE`]: a signal handler may fork from in there.
fn own() -> u64 {
    u64::from(DEPTH.get() > 0)
}

extern "C" fn before() {
    FORKS.set(true);
    FORKING.fetch_add(1, Ordering::SeqCst);
    wait_until(LONGEST_WAIT, || INSIDE.load(Ordering::SeqCst) <= own());
    // Work that began a while ago is past its beginning.
    let beginning = BEGINNING_WAIT.as_millis() as u64;
    wait_until(BEGINNING_WAIT, || {
        BEGINNING.load(Ordering::SeqCst) == 0
            || Chance::System.unix_ms().abs_diff(BEGAN.load(Ordering::SeqCst)) > beginning
    });
}

extern "C" fn in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
    FORKS.set(false);
}

extern "C" fn in_child() {
    FORKS.set(false);
    FORKING.store(0, Ordering::SeqCst);
    INSIDE.store(own(), Ordering::SeqCst);
    BEGINNING.store(0, Ordering::SeqCst);
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Registers the handlers as the library is loaded, where that is possible: a host's handlers,
/// which are registered later, then run before them at a fork and after them behind it, and may
/// call the library.
#[cfg(any(target_os = "linux", target_os = "macos"))]
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static AT_LOAD: extern "C" fn() = {
    extern "C" fn at_load() {
        register();
    }
    at_load
};

#[cfg(unix)]
fn register() {
    if REGISTERED.load(Ordering::Acquire) {
        return;
    }
    // Two threads that come here at once register twice, which does no harm: the handlers count.
    // SAFETY: the handlers touch atomics and a thread-local of constant initialisation. The library
    // is linked with `-z nodelete`, so their addresses stay valid.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    REGISTERED.store(true, Ordering::Release);
}

#[cfg(not(unix))]
fn register() {
    let _ = (before, in_parent, in_child, &REGISTERED);
}

/// A value that every process has one of: made at first use, and made anew in a forked child.
///
/// The parent's value is not dropped there: threads that the child has not may hold its locks, and
/// its epoll instance is shared. It stays where leak checkers find it.
pub(crate) struct PerProcess<T: 'static> {
    make: fn() -> T,
    current: AtomicPtr<Made<T>>,
}

struct Made<T> {
    generation: u64,
    value: T,
    _parents: *mut Made<T>,
}

impl<T: Sync> PerProcess<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        PerProcess { make, current: AtomicPtr::new(ptr::null_mut()) }
    }

    /// This process's value. Threads that meet here at first may make several; one is kept.
    pub(crate) fn get(&'static self) -> &'static T {
        let generation = made_in();
        let mut known = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: the pointer in `current` came from `Box::into_raw` and is never freed.
            if let Some(made) = unsafe { known.as_ref() }
                && made.generation == generation
            {
                return &made.value;
            }
            let made = Made { generation, value: (self.make)(), _parents: known };
            let fresh = Box::into_raw(Box::new(made));
            match self.current.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => known = fresh,
                Err(other) => {
                    // SAFETY: `fresh` was shared with nobody.
                    drop(unsafe { Box::from_raw(fresh) });
                    known = other;
                }
            }
        }
    }
}
