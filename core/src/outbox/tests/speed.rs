//! How fast an outbox is, for people: `cargo test --release -p durstream-core --lib
//! outbox::tests::speed -- --ignored --nocapture`. Nothing is asserted: machines differ.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::outbox::disk::Disk;
use crate::outbox::format::Entry;
use crate::outbox::real::RealDisk;
use crate::outbox::store::{Outbox, Recovery, Sizes, SyncMode};
use crate::outbox::tests::{Folder, place, sent};
use crate::runtime::chance::real_now;

fn open(dir: &Path, mode: SyncMode) -> Outbox {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Outbox::open_with(disk, &place(dir), mode, Recovery::Refuse, Sizes::USUAL).unwrap().0
}

/// Below the build, which is on a disk; a system's folder for temporary files may be in memory.
fn folder() -> Folder {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = target.join(format!("outbox-speed-{:016x}", crate::runtime::chance::random()));
    std::fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}

const BYTES: [&[u8]; 1] = [&[b'x'; 100]];

#[test]
#[ignore = "it measures, and says nothing about being right"]
fn appends_and_records_in_process_mode() {
    let folder = folder();
    let mut outbox = open(&folder.0, SyncMode::Process);
    const COUNT: u64 = 3_000_000;
    const BATCH: u64 = 1_000;
    let (mut appending, mut recording, mut tidying) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for batch in 0..COUNT / BATCH {
        let began = real_now();
        for _ in 0..BATCH {
            outbox.append(&[Entry { parts: &BYTES, tag: 0 }], false).unwrap();
        }
        appending += began.elapsed();
        let began = real_now();
        let first = batch * BATCH + 1;
        outbox.sent(&sent(first, BATCH, batch)).unwrap();
        outbox.settled(first, BATCH, None);
        recording += began.elapsed();
        let began = real_now();
        if let Some(chores) = outbox.chores() {
            chores.run().unwrap();
        }
        tidying += began.elapsed();
    }
    let each = |time: Duration, count: u64| time.as_nanos() as f64 / count as f64;
    println!("append of 100 bytes: {:.0} ns", each(appending, COUNT));
    println!("sent and settled, a batch: {:.0} ns", each(recording, COUNT / BATCH));
    println!(
        "chores, a batch of 1000 writes: {:.0} ns (off the lock)",
        each(tidying, COUNT / BATCH)
    );
}

#[test]
#[ignore = "it measures, and says nothing about being right"]
fn sixteen_threads_in_write_mode() {
    for threads in [1, 16] {
        let folder = folder();
        let outbox = Mutex::new(open(&folder.0, SyncMode::Write));
        let syncer = outbox.lock().unwrap().syncer();
        let (count, began) = (AtomicU64::new(0), real_now());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while began.elapsed() < Duration::from_secs(3) {
                        let entry = [Entry { parts: &BYTES, tag: 0 }];
                        outbox.lock().unwrap().append(&entry, false).unwrap();
                        syncer.sync().unwrap();
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let rate = count.into_inner() as f64 / began.elapsed().as_secs_f64();
        println!("write mode, {threads} threads: {rate:.0} writes a second");
    }
}

#[test]
#[ignore = "it measures, and says nothing about being right"]
fn opening_a_gibibyte() {
    let folder = folder();
    let mut outbox = open(&folder.0, SyncMode::Process);
    let mut bytes = 0;
    while bytes < 1 << 30 {
        outbox.append(&[Entry { parts: &BYTES, tag: 0 }], false).unwrap();
        bytes += 128;
    }
    drop(outbox);
    for _ in 0..2 {
        let began = real_now();
        let outbox = open(&folder.0, SyncMode::Process);
        println!("opening 1 GiB, {} writes: {:?}", outbox.next() - 1, began.elapsed());
    }
}
