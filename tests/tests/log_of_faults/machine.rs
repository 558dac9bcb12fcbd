//! Faults of the machine: a disk that is full, and a clock that jumps. Each in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use durstream_core::{ErrorKind, Options, Reason};

use super::{Log, cure, lost, stream};

/// The folder of an outbox, for the program below.
const OUTBOX: &str = "DURSTREAM_FULL_DISK";
/// What the program below says once it can be stopped.
const READY: &str = "the program is ready";

/// One of the programs below, in this file.
fn program(before: &[&str], name: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let (first, rest) = match before {
        [first, rest @ ..] => ((*first).into(), [rest, &[own.to_str().unwrap()]].concat()),
        [] => (own.clone(), Vec::new()),
    };
    let mut command = Command::new::<std::path::PathBuf>(first);
    command
        .args(rest)
        .args(["--exact", "--ignored", "--nocapture"])
        .arg(format!("machine::{name}"));
    command
}

/// On a disk of 24 MiB, where the system lets a user mount one.
#[test]
fn a_full_disk_leaves_a_line() {
    let folder = std::env::temp_dir().join(format!("durstream-full-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mount = "mount -t tmpfs -o size=24m tmpfs . && cd .";
    let run = |script: &str, name: &str| {
        let mut command = program(&["unshare", "-rm", "sh", "-c", script], name);
        command.current_dir(&folder).env(OUTBOX, &folder).output()
    };
    match run(mount, "none") {
        Ok(tried) if tried.status.success() => {
            let ran =
                run(&format!("{mount} && exec \"$0\" \"$@\""), "program_on_a_full_disk").unwrap();
            let (out, err) =
                (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            println!("{out}");
            assert!(ran.status.success() && out.contains("1 passed"), "{out}\n{err}");
        }
        other => eprintln!("skipped a_full_disk_leaves_a_line: no disk can be mounted: {other:?}"),
    }
    drop(std::fs::remove_dir_all(folder));
}

#[test]
#[ignore = "a part of the test of a full disk"]
fn program_on_a_full_disk() {
    let Some(folder) = std::env::var_os(OUTBOX) else { return };
    let log = Log::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options::new().outbox_dir(folder.to_str().unwrap()).outbox_max_bytes(1u64 << 40);
    let producer = lost(stream(&format!("http://{nobody}")), "full", options);
    let mut since = Instant::now();
    let error = loop {
        if let Err(error) = producer.append("x".repeat(64 * 1024)) {
            break error;
        }
        since = Instant::now();
    };
    assert_eq!((error.kind(), error.reason()), (ErrorKind::BufferFull, Some(Reason::OutboxFull)));
    assert!(cure(error.kind().code()).is_some());
    let texts = ["producer full: a write was turned away", "room"];
    log.tells("disk full", since, "outbox-full", &texts);
}

/// A process that is stopped for a while sees the clock jump.
#[test]
#[allow(unsafe_code, reason = "signals are sent by a call of the system alone")]
fn a_jump_of_the_clock_leaves_a_line() {
    let mut command = program(&[], "program_that_is_stopped");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let id = child.id() as libc::pid_t;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut woken = None;
    for line in lines.map_while(Result::ok) {
        if line.contains(READY) {
            // SAFETY: signals to a child that was not waited for.
            let stop = |signal| assert_eq!(unsafe { libc::kill(id, signal) }, 0);
            stop(libc::SIGSTOP);
            std::thread::sleep(Duration::from_secs(5));
            stop(libc::SIGCONT);
            woken = Some(Instant::now());
        } else if line.contains("[clock-jump]") {
            let took = woken.unwrap().elapsed();
            println!("clock jump: {} ms behind the jump: {line}", took.as_millis());
        } else {
            println!("{line}");
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(woken.is_some());
}

#[test]
#[ignore = "a part of the test of a jump of the clock"]
fn program_that_is_stopped() {
    let log = Log::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // What is to expire while the process is stopped.
    let options = Options::new().delivery_timeout_ms(2_000u64);
    let producer = lost(stream(&format!("http://{nobody}")), "stopped", options);
    producer.append("x").unwrap();
    let since = Instant::now();
    log.tells("before it", since, "unreachable", &["cannot reach"]);
    println!("{READY}");
    log.tells("clock jump", since, "clock-jump", &["producer stopped: ", "the clock jumped"]);
    producer.stop();
}
