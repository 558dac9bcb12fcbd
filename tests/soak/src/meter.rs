//! What a process holds, as the kernel counts it.

use std::time::Duration;

/// What a process held at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Held {
    /// Memory that is there, shared libraries included, in KiB.
    pub(crate) resident: f64,
    /// Memory that is this process's alone and was written to, in KiB: what a leak adds to.
    pub(crate) own: f64,
    pub(crate) descriptors: f64,
    pub(crate) threads: f64,
}

/// One moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Since the services were started.
    pub(crate) at: Duration,
    /// Of each service.
    pub(crate) held: Vec<Held>,
}

impl Held {
    /// `None` for a process that has ended.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let count = |what: &str| {
            let entries = std::fs::read_dir(format!("/proc/{process}/{what}")).ok()?;
            Some(entries.count() as f64)
        };
        let memory = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let (resident, own) = memory_of(&memory)?;
        Some(Self { resident, own, descriptors: count("fd")?, threads: count("task")? })
    }
}

fn memory_of(rollup: &str) -> Option<(f64, f64)> {
    let value = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()
    };
    Some((value("Rss:")?, value("Private_Dirty:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_this_process_holds_is_counted() {
        let before = Held::of(std::process::id()).unwrap();
        assert!(before.resident >= before.own && before.own > 0.0 && before.threads >= 1.0);
        let pattern = std::hint::black_box(vec![1u8; 64 << 20]);
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let after = Held::of(std::process::id()).unwrap();
        assert!(after.own >= before.own + 60.0 * 1024.0, "{before:?} {after:?}");
        assert!(after.descriptors >= before.descriptors + 90.0, "{before:?} {after:?}");
        drop((pattern, files));
        assert_eq!(Held::of(u32::MAX), None);
    }

    #[test]
    fn the_kernels_words_are_read() {
        let text =
            "55-7f ---p 00:00 0 [rollup]\nRss:   2048 kB\nPss: 1 kB\nPrivate_Dirty:  96 kB\n";
        assert_eq!(memory_of(text), Some((2048.0, 96.0)));
        assert_eq!(memory_of("Rss: 1 kB\n"), None);
    }
}
