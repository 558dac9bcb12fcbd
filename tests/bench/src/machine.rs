//! Where the machine's time went during a run. Known on Linux alone.

pub(crate) use durstream_tests::facts::cores;

/// CPU seconds so far, of one process or of all.
#[cfg(target_os = "linux")]
pub(crate) fn cpu_seconds(process: Option<u32>) -> Option<f64> {
    let ticks = match process {
        Some(id) => {
            let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            process_ticks(&text)
        }
        None => machine_ticks(&std::fs::read_to_string("/proc/stat").ok()?),
    };
    // SAFETY: sysconf touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Some(ticks? as f64 / per_second as f64)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn cpu_seconds(_process: Option<u32>) -> Option<f64> {
    None
}

/// The most memory a process has had. From the kernel's own count of its program: what a process
/// says of itself may begin with the peak of the one that started it.
#[cfg(target_os = "linux")]
pub(crate) fn peak_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn peak_bytes(_process: u32) -> Option<u64> {
    None
}

/// How often the threads of a process went to sleep so far.
#[cfg(target_os = "linux")]
pub(crate) fn sleeps(process: u32) -> Option<u64> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let of = |status: String| status.lines().find_map(voluntary);
    threads.map(|thread| of(std::fs::read_to_string(thread.path().join("status")).ok()?)).sum()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sleeps(_process: u32) -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", test))]
fn voluntary(line: &str) -> Option<u64> {
    line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok()
}

/// User and system time, the 14th and 15th field; the second may hold anything but ends with `)`.
#[cfg(any(target_os = "linux", test))]
fn process_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Everything but waiting; what the host took from a virtual machine counts as used.
#[cfg(any(target_os = "linux", test))]
fn machine_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, _idle, _waiting, interrupts, soft, stolen, ..] = ticks[..] else {
        return None;
    };
    Some(user + nice + system + interrupts + soft + stolen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found() {
        let stat = "42 (a (name) x) S 1 42 42 0 -1 4194560 1 2 3 4 70 30 5 6 20 0 9 0 100";
        assert_eq!(process_ticks(stat), Some(100));
        assert_eq!(process_ticks("42"), None);
        let stat = "cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 1 1 1 1 1 1 1 1";
        assert_eq!(machine_ticks(stat), Some(63));
        assert_eq!(machine_ticks("cpu  1 2"), None);
        assert_eq!(voluntary("voluntary_ctxt_switches:\t42"), Some(42));
        assert_eq!(voluntary("nonvoluntary_ctxt_switches:\t7"), None);
    }
}
