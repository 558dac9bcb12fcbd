//! When, on what and of which state something was measured.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// `2026-01-31 12:00 UTC`, by the civil calendar.
pub fn date(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day_of_era = days - era * 146_097;
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    // Counted from March, so that the day that leap years add is the last.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

/// What a program prints, without what stands around it.
pub fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The commit of a checkout, and whether something was changed since, but for some paths: a report
/// does not count.
pub fn commit(folder: &Path, but_for: &[&str]) -> String {
    let folder = folder.display().to_string();
    let git = |arguments: &[&str]| said("git", &[&["-C", &folder], arguments].concat());
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else {
        return "no git checkout".to_owned();
    };
    let but_for: Vec<String> = but_for.iter().map(|path| format!(":!{path}")).collect();
    let but_for = but_for.iter().map(String::as_str);
    let status = ["status", "--porcelain", "--untracked-files=no", "--", "."];
    let changed = git(&status.into_iter().chain(but_for).collect::<Vec<_>>());
    if changed.is_some() { format!("{commit} with changes") } else { commit }
}

/// The kind of machine.
pub fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let processor = processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let memory = memory.and_then(|text| text.trim_end_matches("kB").trim().parse::<f64>().ok());
    let memory = memory.map_or(String::new(), |kib| format!(", {:.0} GB", kib * 1024.0 / 1e9));
    let system = read("/proc/sys/kernel/osrelease");
    let system = format!("{} {}", std::env::consts::OS, system.trim());
    format!("{} cores of {processor}{memory}, {}", cores(), system.trim())
}

/// How many processors there are.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_by_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_772_323_199, "2026-02-28 23:59 UTC"),
            (1_772_323_200, "2026-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
