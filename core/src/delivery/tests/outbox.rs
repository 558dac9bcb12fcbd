//! What was accepted survives the process (outbox.md): a life ends, and the next one goes on.

use std::sync::Mutex;

use tokio::task::JoinHandle;

use crate::delivery::closing::{CloseWith, close};
use crate::delivery::engine::accept::{Full, WriteOptions};
use crate::delivery::open::open_outbox;
use crate::delivery::tests::*;
use crate::outbox::model::ModelDisk;
use crate::outbox::{Disk, Sizes};
use crate::runtime::lifecycle::Work;
use crate::runtime::pending::Pending;

const SIZES: Sizes = Sizes { control: 4_096, least: 512, most: 2_048 };

/// A machine with a disk, on which a producer lives again and again.
struct Machine {
    server: Scripted,
    disk: ModelDisk,
}

struct Life {
    engine: Arc<Engine>,
    task: JoinHandle<()>,
}

impl std::ops::Deref for Life {
    type Target = Arc<Engine>;

    fn deref(&self) -> &Arc<Engine> {
        &self.engine
    }
}

fn kept(options: Options) -> Options {
    options.outbox_dir("somewhere")
}

impl Machine {
    fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Machine { server: Scripted::new(faults), disk: ModelDisk::new(1) }
    }

    fn open(&self, options: Options) -> crate::Result<Life> {
        let config = config(Scope::Producer, &kept(options));
        let endpoint = Endpoint::resolve(&model()).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let outbox = open_outbox(&disk, SIZES, &endpoint, &config, None)?;
        let (engine, task) =
            Engine::with_task(runtime(&self.server), endpoint, config, None, None, outbox);
        Ok(Life { engine, task: tokio::spawn(task.run()) })
    }

    /// A life with a batch for each write.
    fn live(&self) -> Life {
        self.open(single()).unwrap()
    }

    /// The process dies.
    async fn kill(&self, life: Life) {
        life.task.abort();
        assert!(life.task.await.unwrap_err().is_cancelled());
        drop(life.engine);
        self.disk.kill();
    }

    /// Every tuple that the server saw, with its bytes.
    fn seen(&self) -> Vec<(u64, u64, String)> {
        let model = lock(&self.server.model);
        let text = |body: &bytes::Bytes| String::from_utf8_lossy(body).into_owned();
        model.seen.iter().map(|(epoch, seq, body)| (*epoch, *seq, text(body))).collect()
    }
}

fn put(life: &Life, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        life.accept(&[n.to_string().as_bytes()]).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_process_had_accepted_is_delivered_once_and_first() {
    let machine = Machine::new([Fault::Refuse, Fault::Refuse]);
    let life = machine.live();
    put(&life, 1..=20);
    sleep(5).await;
    machine.kill(life).await;
    let life = machine.live();
    let stats = life.stats();
    assert_eq!((stats.recovered, stats.recovered_bytes), (20, 9 + 11 * 2));
    put(&life, 21..=30);
    assert_eq!(life.flush().await.unwrap().delivered, 30);
    assert_eq!(machine.server.stored(), numbers(1..=30));
}

/// A life that goes on in a session of which the disk knows may have had another one behind it, of which
/// the disk does not know: a batch must not get a tuple that other bytes had.
#[tokio::test(start_paused = true)]
async fn a_session_that_a_crash_of_the_machine_forgot_is_not_begun_again() {
    let mut resumed = 0;
    for seed in 0..50 {
        let own = Machine::new([Fault::None, status(422)]);
        let machine = Machine { disk: ModelDisk::new(seed), ..own };
        let life = machine.live();
        put(&life, 1..=3);
        life.flush().await.unwrap();
        let (known, forgotten) = (machine.seen()[0].0, life.snapshot().epoch);
        assert_ne!(known, forgotten);
        machine.kill(life).await;
        machine.disk.crash();
        // No look at the stream tells more of a batch that was under way, and the server refuses it.
        let no_look = vec![status(500); 3];
        machine.server.script([&no_look[..], &[status(413)], &no_look].concat());
        let before = machine.server.chance.journal().len();
        let life = machine.live();
        put(&life, 4..=4);
        drop(life.flush().await);
        let asked = machine.server.chance.journal().split_off(before).concat();
        let has = |epoch: u64| {
            asked.contains(&format!("\"producer-epoch\": \"{epoch}\", \"producer-seq"))
        };
        assert!(!(has(known) && has(forgotten)), "{seed}: {asked}");
        resumed += usize::from(has(known));
    }
    assert!(resumed > 0, "no disk had a batch of the first session alone");
}

/// The same bytes go out under the same tuple, whose server says that it has them.
#[tokio::test(start_paused = true)]
async fn a_batch_under_way_keeps_its_tuple_through_the_death_of_its_process() {
    let late = || delay(Fault::None, 0, 9_000);
    let machine = Machine::new([Fault::None, late(), delay(Fault::CutBefore, 9_000, 0)]);
    let life = machine.live();
    put(&life, 1..=1);
    life.flush().await.unwrap();
    put(&life, 2..=3);
    sleep(5).await;
    assert_eq!(machine.server.stored(), numbers(1..=2), "the answer about 2 is on its way");
    machine.kill(life).await;
    let life = machine.live();
    put(&life, 4..=4);
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=4));
    let seen = machine.seen();
    let epoch = seen[0].0;
    let expected = (0..4).map(|seq| (epoch, seq, format!("[{}]", seq + 1)));
    assert_eq!(seen, expected.collect::<Vec<_>>(), "the session goes on");
    assert_eq!(life.stats().uncertain, 0, "its server remembers");
}

/// An attempt at the first batch may still be on its way, and a server that forgets takes it anew. Of one
/// attempt that is in the stream, no further copy can come.
#[tokio::test(start_paused = true)]
async fn a_first_batch_in_doubt_leaves_no_doubt_once_its_one_attempt_is_explained() {
    let late = || delay(Fault::None, 0, 9_000);
    // The first life's only batch; the second's repeat of it, 2, and 3, which the third finds.
    let machine = Machine::new([late(), Fault::None, Fault::None, late()]);
    let life = machine.live();
    put(&life, 1..=1);
    sleep(5).await;
    machine.kill(life).await;
    let life = machine.live();
    put(&life, 2..=2);
    life.flush().await.unwrap();
    let first = life.stats();
    put(&life, 3..=3);
    sleep(5).await;
    machine.kill(life).await;
    let life = machine.live();
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=3));
    let epochs: Vec<_> = machine.seen().iter().map(|(epoch, seq, _)| (*epoch, *seq)).collect();
    let epoch = epochs[0].0;
    assert_eq!(epochs, [(epoch, 0), (epoch, 0), (epoch, 1), (epoch, 2)]);
    assert_eq!((first.uncertain, life.stats().uncertain), (0, 0));
}

/// Where a batch went out twice before, two copies of it may be in the stream of a server that forgets.
#[tokio::test(start_paused = true)]
async fn a_first_batch_that_two_lives_sent_is_flagged() {
    let late = || delay(Fault::None, 0, 9_000);
    let machine = Machine::new([late(), late()]);
    for _ in 0..2 {
        let life = machine.live();
        if life.stats().recovered == 0 {
            put(&life, 1..=1);
        }
        sleep(5).await;
        machine.kill(life).await;
    }
    let life = machine.live();
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=1));
    assert_eq!(life.stats().uncertain, 1);
}

/// It can only be stored anew behind all that are before it.
#[tokio::test(start_paused = true)]
async fn a_batch_behind_one_that_is_settled_for_good_is_not_flagged() {
    let late = || delay(Fault::None, 0, 9_000);
    let lost = delay(Fault::CutBefore, 9_000, 0);
    // 1 three times, and 2; 3, a look for it, and 3 again.
    let behind = [lost, Fault::None, late()];
    let machine =
        Machine::new([late(), late(), Fault::None, Fault::None].into_iter().chain(behind));
    let life = machine.live();
    put(&life, 1..=1);
    sleep(5).await;
    machine.kill(life).await;
    let life = machine.live();
    sleep(5).await;
    machine.kill(life).await;
    let life = machine.live();
    put(&life, 2..=2);
    life.flush().await.unwrap();
    assert_eq!(life.stats().uncertain, 1, "the first one");
    put(&life, 3..=3);
    sleep(5).await;
    machine.kill(life).await;
    let life = machine.live();
    sleep(5).await;
    machine.kill(life).await;
    let life = machine.live();
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=3));
    assert_eq!(life.stats().uncertain, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_not_sent_again() {
    let machine = Machine::new([]);
    for n in 1..=5 {
        let life = machine.live();
        assert_eq!(life.stats().recovered, 0);
        put(&life, n..=n);
        life.flush().await.unwrap();
        machine.kill(life).await;
    }
    assert_eq!(machine.seen().len(), 5);
    assert_eq!(machine.server.stored(), numbers(1..=5));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgot_is_asked_what_it_holds() {
    let machine = Machine::new([Fault::None, delay(Fault::None, 0, 9_000)]);
    let life = machine.live();
    put(&life, 1..=1);
    life.flush().await.unwrap();
    put(&life, 2..=3);
    sleep(5).await;
    machine.kill(life).await;
    lock(&machine.server.model).producers.clear();
    let life = machine.live();
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=3), "found in the stream, from its last end");
}

/// The end that an acknowledgement gives may be behind what is under way beside it. The next life reads from
/// the end before, and passes over what was acknowledged since.
#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_beside_a_batch_that_is_under_way_is_passed_over() {
    let late = || delay(Fault::None, 0, 9_000);
    let machine = Machine::new([Fault::None, Fault::None, Fault::None, late(), late()]);
    let life = machine.live();
    put(&life, 1..=1);
    life.flush().await.unwrap();
    put(&life, 2..=5);
    sleep(5).await;
    assert_eq!(life.stats().delivered, 3, "two of those that went out together");
    machine.kill(life).await;
    lock(&machine.server.model).producers.clear();
    let life = machine.live();
    put(&life, 6..=6);
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=6));
    assert_eq!(life.stats().uncertain, 0);
}

/// One answer acknowledges several batches, and the process dies between any two of the records of that.
#[tokio::test(start_paused = true)]
async fn a_death_among_the_records_of_one_acknowledgement_leaves_no_doubt() {
    let mut died = 0;
    for steps in 1.. {
        let late = |ms| delay(Fault::None, 0, ms);
        let machine = Machine::new([Fault::None, late(9_000), late(100)]);
        let life = machine.live();
        put(&life, 1..=1);
        life.flush().await.unwrap();
        put(&life, 2..=3);
        sleep(50).await;
        assert_eq!(machine.server.stored(), numbers(1..=3), "no answer came");
        machine.disk.die_in(steps);
        sleep(100).await;
        let is_dead = machine.disk.is_dead();
        died += u32::from(is_dead);
        machine.kill(life).await;
        lock(&machine.server.model).producers.clear();
        let life = machine.live();
        life.flush().await.unwrap();
        assert_eq!(machine.server.stored(), numbers(1..=3), "{steps}");
        assert_eq!(life.stats().uncertain, 0, "{steps}");
        if !is_dead {
            break;
        }
    }
    assert!(died > 1, "each batch has a record");
}

#[tokio::test(start_paused = true)]
async fn who_was_fenced_while_dead_delivers_when_it_is_told_to() {
    let machine = Machine::new([Fault::None, Fault::Refuse]);
    let life = machine.live();
    put(&life, 1..=1);
    life.flush().await.unwrap();
    put(&life, 2..=4);
    machine.kill(life).await;
    let rival = open(&machine.server, Options::new());
    rival.accept(&[b"100"]).unwrap();
    rival.flush().await.unwrap();
    let life = machine.live();
    let error = life.flush().await.unwrap_err();
    let Some(Detail::Delivery { undelivered: 3, kept: 3, .. }) = error.detail() else {
        panic!("{error:?}")
    };
    assert!(error.message().contains("all of them kept in the outbox"), "{error:?}");
    assert_eq!(life.snapshot().state, Lifecycle::Fenced);
    assert_eq!(outcome(&life, 1).await.status, Status::Kept);
    assert_eq!(machine.server.stored().len(), 2, "nothing goes out unasked");
    life.restart().await.unwrap();
    assert_eq!(life.flush().await.unwrap().delivered, 3);
    let stored = machine.server.stored();
    assert_eq!(stored, ["1", "100", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_fenced_producer_holds_can_be_dropped() {
    let machine = Machine::new([Fault::None, Fault::Refuse]);
    let life = machine.live();
    put(&life, 1..=1);
    life.flush().await.unwrap();
    put(&life, 2..=4);
    machine.kill(life).await;
    let rival = open(&machine.server, Options::new());
    rival.accept(&[b"100"]).unwrap();
    rival.flush().await.unwrap();
    let life = machine.live();
    life.flush().await.unwrap_err();
    assert_eq!(life.discard_outbox().await.unwrap(), 3);
    assert_eq!(life.discard_outbox().await.unwrap_err().kind(), ErrorKind::ProducerClosed);
    let life = machine.live();
    assert_eq!(life.stats().recovered, 0);
    put(&life, 5..=5);
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), ["1", "100", "5"]);
}

/// Drops what is left as soon as it hears of it, when the task is not over yet.
struct DropsAtOnce(Arc<Engine>, Mutex<Option<Pending<u64>>>);

impl std::task::Wake for DropsAtOnce {
    fn wake(self: Arc<Self>) {
        *lock(&self.1) = Some(self.0.discard_outbox());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_fence_leaves_can_be_dropped_before_the_producer_is_over() {
    let machine = Machine::new([Fault::None, Fault::Refuse]);
    let life = machine.live();
    put(&life, 1..=1);
    life.flush().await.unwrap();
    put(&life, 2..=4);
    machine.kill(life).await;
    let rival = open(&machine.server, Options::new());
    rival.accept(&[b"100"]).unwrap();
    rival.flush().await.unwrap();
    let life = machine.live();
    let drops = Arc::new(DropsAtOnce(life.engine.clone(), Mutex::default()));
    let mut flush = std::pin::pin!(life.flush().into_future());
    let waker = drops.clone().into();
    assert!(flush.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    sleep(1_000).await;
    let dropped = lock(&drops.1).take().expect("the flush was told");
    assert_eq!(dropped.await.unwrap(), 3);
    assert_eq!(machine.live().stats().recovered, 0);
}

#[tokio::test(start_paused = true)]
async fn a_live_producer_drops_what_it_holds() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.open(single().max_buffer_bytes(20u64)).unwrap();
    put(&life, 1..=50);
    sleep(50).await;
    assert_eq!(life.discard_outbox().await.unwrap(), 50);
    assert_eq!(outcome(&life, 50).await.status, Status::Cancelled);
    assert_eq!(machine.live().stats().recovered, 0);
    let plain = open(&machine.server, Options::new());
    let none = plain.discard_outbox().await.unwrap_err();
    assert_eq!(none.option_name(), Some("outbox_dir"));
}

/// An outage costs disk, not memory.
#[tokio::test(start_paused = true)]
async fn an_outage_is_written_to_the_disk() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let options = || Options::new().max_batch_items(3u64).max_buffer_bytes(100u64);
    let life = machine.open(options()).unwrap();
    put(&life, 1..=2_000);
    sleep(500).await;
    assert!(life.book().queue().bytes_waiting() <= 110, "{}", life.book().queue().bytes_waiting());
    lock(&machine.server.model).down = false;
    put(&life, 2_001..=2_010);
    assert_eq!(life.flush().await.unwrap().delivered, 2_010);
    assert_eq!(machine.server.stored(), numbers(1..=2_010));
    assert_eq!(life.stats().buffered_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_stopped_is_kept_and_said_to_be() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.open(single().max_buffer_bytes(10u64)).unwrap();
    put(&life, 1..=30);
    sleep(20).await;
    life.stop_now();
    life.ended().await;
    for id in [1, 30] {
        let outcome = outcome(&life, id).await;
        assert_eq!((outcome.status, outcome.reason), (Status::Kept, Some(Reason::ProducerStopped)));
        let text = outcome.error.unwrap();
        assert!(text.message().starts_with("the write stays in the outbox: "), "{text:?}");
    }
    assert_eq!((life.stats().kept, life.stats().buffered_bytes), (30, 0));
    lock(&machine.server.model).down = false;
    let life = machine.live();
    assert_eq!(life.stats().recovered, 30);
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=30));
}

/// Whatever ends the producer, nobody refused the write for good.
#[tokio::test(start_paused = true)]
async fn an_end_for_any_reason_keeps_the_first_batch_too() {
    for (code, times) in [(404, 60), (410, 60), (401, 1), (403, 1), (405, 60)] {
        let machine = Machine::new((0..times).map(|_| status(code)));
        let life = machine.live();
        put(&life, 1..=3);
        life.flush().await.unwrap_err();
        assert_eq!(life.stats().kept, 3, "{code}: {:?}", life.stats());
        life.ended().await;
        machine.server.script(Vec::new());
        let life = machine.live();
        life.flush().await.unwrap();
        assert_eq!(machine.server.stored(), numbers(1..=3), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_does_not_come_again() {
    let machine = Machine::new([]);
    lock(&machine.server.model).poison = Some("2");
    let life = machine.live();
    put(&life, 1..=3);
    life.flush().await.unwrap_err();
    assert_eq!(outcome(&life, 2).await.status, Status::Rejected);
    machine.kill(life).await;
    let life = machine.live();
    assert_eq!(life.stats().recovered, 0);
    assert_eq!(machine.server.stored(), ["1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_is_a_full_buffer() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.open(single().outbox_max_bytes(100u64)).unwrap();
    let error = loop {
        match life.accept(&[b"1234567890"]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.reason()), (ErrorKind::BufferFull, Some(Reason::OutboxFull)));
    let mut ready = life.ready();
    assert!(ready.wait_for(Duration::ZERO).is_none());
    lock(&machine.server.model).down = false;
    ready.await.unwrap();
    life.accept(&[b"1"]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_the_call_and_nothing_else() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.live();
    put(&life, 1..=3);
    machine.disk.set_full(true);
    let mut accepted = 3;
    let error = loop {
        match life.accept(&[(accepted + 1).to_string().as_bytes()]) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.reason()), (ErrorKind::BufferFull, Some(Reason::OutboxFull)));
    assert!(life.flush().wait_for(Duration::ZERO).is_none());
    lock(&machine.server.model).down = false;
    sleep(2_000).await;
    assert_eq!(machine.server.stored(), numbers(1..=accepted), "a full disk holds up no batch");
    machine.disk.set_full(false);
    assert_eq!(life.accept(&[b"9999"]).unwrap(), accepted + 1, "refused calls take no number");
    life.flush().await.unwrap_err(); // of the call that was refused
    assert_eq!(machine.server.stored().len() as u64, accepted + 1);
}

/// A sync that fails is never repeated as if it had not.
#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_ends_the_producer_and_sends_nothing() {
    for sync in ["batch", "write"] {
        let machine = Machine::new([]);
        let life = machine.open(single().outbox_sync(sync)).unwrap();
        put(&life, 1..=1);
        life.flush().await.unwrap();
        machine.disk.fail_syncs();
        let accepted = life.accept(&[b"2"]);
        if sync == "write" {
            let error = accepted.unwrap_err();
            assert_eq!((error.kind(), error.definite()), (ErrorKind::OutboxFailed, false));
        }
        life.flush().await.unwrap_err();
        assert_eq!(machine.server.stored(), ["1"], "{sync}");
        assert_eq!(life.snapshot().state, Lifecycle::Failed);
        assert_eq!(life.snapshot().last_error.unwrap().kind(), ErrorKind::OutboxFailed);
        assert_eq!(life.stats().kept, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_expired_does_not_come_again() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.open(single().delivery_timeout_ms(1_000u64)).unwrap();
    put(&life, 1..=3);
    life.flush().await.unwrap_err();
    assert_eq!(outcome(&life, 3).await.status, Status::Cancelled);
    machine.kill(life).await;
    lock(&machine.server.model).down = false;
    let life = machine.live();
    put(&life, 4..=4);
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), ["4"]);
}

/// The end of a stream is the call's, which died; what was accepted before it is not.
#[tokio::test(start_paused = true)]
async fn a_last_message_is_forgotten_with_the_close_that_brought_it() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.live();
    put(&life, 1..=2);
    lock(&machine.server.model).down = false;
    life.flush().await.unwrap();
    lock(&machine.server.model).down = true;
    let closing = close(&life, CloseWith::Message(b"99".to_vec()));
    sleep(50).await;
    machine.kill(life).await;
    drop(closing);
    lock(&machine.server.model).down = false;
    let life = machine.live();
    put(&life, 3..=3);
    life.flush().await.unwrap();
    assert_eq!(machine.server.stored(), numbers(1..=3));
    assert!(!lock(&machine.server.model).closed);
}

#[tokio::test(start_paused = true)]
async fn a_group_survives_whole() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.open(Options::new().max_buffer_bytes(5u64)).unwrap();
    let texts: Vec<String> = numbers(1..=9);
    let writes: Vec<_> = texts.iter().map(|text| (text.as_bytes(), Default::default())).collect();
    life.accept_group(&writes, crate::delivery::engine::accept::Checked::Whole, Full::Refused)
        .unwrap();
    machine.kill(life).await;
    lock(&machine.server.model).down = false;
    let life = machine.open(Options::new().max_batch_items(2u64)).unwrap();
    life.flush().await.unwrap();
    let seen = machine.seen();
    assert_eq!(seen.len(), 1, "one request: {seen:?}");
    assert_eq!(machine.server.stored(), texts);
}

#[tokio::test(start_paused = true)]
async fn tags_come_back_in_the_next_life() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.live();
    let options = WriteOptions { tag: 77, block: false };
    life.accept_with(&[b"1"], 0, options).unwrap();
    machine.kill(life).await;
    lock(&machine.server.model).down = false;
    let life = machine.live();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let on_delivery = move |delivery: crate::Delivery| {
        lock(&tell).send(delivery.tags).unwrap();
    };
    let callbacks =
        crate::Callbacks { on_delivery: Some(Arc::new(on_delivery)), ..Default::default() };
    life.listeners.add(0, callbacks);
    life.flush().await.unwrap();
    assert_eq!(told.recv().unwrap(), [77]);
}

#[tokio::test(start_paused = true)]
async fn one_process_at_a_time() {
    let machine = Machine::new([]);
    let life = machine.live();
    let Err(error) = machine.open(single()) else { panic!("two at once") };
    assert_eq!(error.kind(), ErrorKind::OutboxInUse);
    life.begin_stop();
    life.ended().await;
    machine.live();
}

/// The end of the process waits for what is under way, and not for a server that is away.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_does_not_wait_for_what_is_kept() {
    let machine = Machine::new([delay(Fault::None, 200, 200)]);
    let life = machine.live();
    put(&life, 1..=1);
    life.engine.clone().when_leavable().await;
    assert_eq!(machine.server.stored(), ["1"], "its server answers");
    lock(&machine.server.model).down = true;
    put(&life, 2..=2);
    life.engine.clone().when_leavable().await;
    assert_eq!(life.stats().pending, 1);
}

#[test]
fn options_that_contradict_an_outbox_are_named() {
    let refused = |options: Options| {
        Config::new(Scope::Producer, &options, "p", StreamType::default()).unwrap_err()
    };
    for options in [kept(Options::new()).epoch(3u64), Options::new().outbox_dir("")] {
        assert_eq!(refused(options).option_name(), Some("outbox_dir"));
    }
    let alone = refused(Options::new().outbox_sync("batch"));
    assert_eq!(alone.option_name(), Some("outbox_sync"));
}

/// What was read before the damage is not settled twice, and what was not is kept.
#[tokio::test(start_paused = true)]
async fn an_outbox_that_cannot_be_read_any_more_ends_the_producer() {
    let machine = Machine::new([]);
    lock(&machine.server.model).down = true;
    let life = machine.open(Options::new().max_batch_items(2u64).max_buffer_bytes(10u64)).unwrap();
    put(&life, 1..=60);
    sleep(20).await;
    machine.disk.lose_segments();
    lock(&machine.server.model).down = false;
    life.flush().await.unwrap_err();
    life.ended().await;
    assert_eq!(life.snapshot().last_error.unwrap().kind(), ErrorKind::OutboxDamaged);
    let s = life.stats();
    assert_eq!((s.delivered + s.kept, s.pending, s.buffered_bytes), (60, 0, 0), "{s:?}");
    assert_eq!(machine.server.stored().len() as u64, s.delivered);
}
