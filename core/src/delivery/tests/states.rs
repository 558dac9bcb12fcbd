//! Each change of a producer's state is told once, in its order, on the dispatcher (delivery.md 8, 9).

use std::sync::Mutex;

use crate::delivery::buffer::lifecycle::StateChange;
use crate::delivery::callbacks::{Callbacks, StateCallback};
use crate::delivery::tests::*;

type Told = Arc<Mutex<Vec<StateChange>>>;

/// Becomes a holder, whose changes of the state are kept.
fn listen(engine: &Engine, holder: u32) -> Told {
    let told = Told::default();
    let kept = told.clone();
    let on_state: StateCallback = Arc::new(move |change| lock(&kept).push(change));
    engine.listeners.add(holder, Callbacks { on_state: Some(on_state), ..Callbacks::default() });
    told
}

/// Waits until a producer's callbacks were called for everything so far: they have a thread of their
/// own.
fn until_told(engine: &Engine) {
    let (sender, told) = std::sync::mpsc::channel();
    engine.runtime().dispatch(move || sender.send(()).unwrap());
    told.recv_timeout(Duration::from_secs(30)).expect("the callbacks end");
}

/// The states that the changes lead through, which have to join.
fn path(told: &Told) -> Vec<&'static str> {
    let told = lock(told);
    assert!(told.windows(2).all(|two| two[0].to == two[1].from), "{told:?}");
    told.iter().map(|change| change.to.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_in_order_and_why() {
    let server = Scripted::default();
    let engine = open(&server, single());
    let told = [listen(&engine, 0), listen(&engine, 1)];
    lock(&server.model).down = true;
    write(&engine, 1..=1);
    sleep(1_000).await;
    lock(&server.model).down = false;
    engine.flush().await.unwrap();
    lock(&server.model).down = true;
    write(&engine, 2..=2);
    sleep(1_000).await;
    lock(&server.model).down = false;
    engine.flush().await.unwrap();
    engine.begin_stop();
    engine.ended().await;
    until_told(&engine);
    for told in &told {
        let states = ["backoff", "ready", "reconnecting", "ready", "stopping", "stopped"];
        assert_eq!(path(told), states);
        let told = lock(told);
        let why = |n: usize| told[n].error.as_ref().map(|error| error.message().to_owned());
        assert!(why(0).is_some_and(|why| why.contains("refused")) && why(2).is_some(), "{told:?}");
        assert!([1, 3, 4, 5].iter().all(|n| why(*n).is_none()), "{told:?}");
    }
}

/// The first holder of a state producer comes after its start, others whenever they like.
#[tokio::test(start_paused = true)]
async fn a_holder_that_comes_late_is_told_what_it_missed_as_one_change() {
    let server = Scripted::default();
    lock(&server.model).down = true;
    let engine = open(&server, single());
    write(&engine, 1..=1);
    sleep(1_000).await;
    let (early, late) = (Told::default(), Told::default());
    let join = |holder, told: &Told| {
        let kept = told.clone();
        let on_state: StateCallback = Arc::new(move |change| lock(&kept).push(change));
        engine.listen(holder, Callbacks { on_state: Some(on_state), ..Callbacks::default() });
        until_told(&engine); // it is told on the thread of the callbacks, of the state as it is there
    };
    join(1, &early);
    lock(&server.model).down = false;
    engine.flush().await.unwrap();
    join(2, &late);
    engine.begin_stop();
    engine.ended().await;
    until_told(&engine);
    assert_eq!(path(&early), ["backoff", "ready", "stopping", "stopped"]);
    assert_eq!(path(&late), ["ready", "stopping", "stopped"]);
    assert!(lock(&early)[0].error.is_some() && lock(&late)[0].error.is_none());
    assert!([&early, &late].iter().all(|told| lock(told)[0].from == Lifecycle::Connecting));
}

#[tokio::test(start_paused = true)]
async fn a_fence_and_a_restart_are_changes() {
    let server = Scripted::default();
    let old = open(&server, Options::new());
    let told = listen(&old, 0);
    write(&old, 1..=1);
    old.flush().await.unwrap();
    let new = open(&server, Options::new());
    write(&new, 1..=1);
    new.flush().await.unwrap();
    write(&old, 2..=2);
    old.flush().await.unwrap_err();
    old.restart().await.unwrap();
    write(&old, 3..=3);
    old.flush().await.unwrap();
    until_told(&old);
    assert_eq!(path(&told), ["ready", "fenced", "connecting", "ready"]);
    let fence = lock(&told)[1].error.clone().unwrap();
    assert_eq!(fence.kind(), ErrorKind::StaleEpoch);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_takes_no_change_from_others() {
    let engine = open(&Scripted::default(), single());
    let on_state: StateCallback = Arc::new(|_| panic!("a callback of the host's"));
    engine.listeners.add(0, Callbacks { on_state: Some(on_state), ..Callbacks::default() });
    let told = listen(&engine, 1);
    write(&engine, 1..=1);
    engine.flush().await.unwrap();
    engine.begin_stop();
    engine.ended().await;
    until_told(&engine);
    assert_eq!(path(&told), ["ready", "stopping", "stopped"]);
}

/// A callback that blocks holds back a bounded number of changes, whatever the server does.
#[tokio::test(start_paused = true)]
async fn what_a_slow_callback_is_not_told_is_bounded_and_joins() {
    let server = Scripted::default();
    let engine = open(&server, single());
    let told = listen(&engine, 0);
    let held = lock(&told); // the first callback waits for this
    for n in 0..500 {
        engine.step(|book| match n % 2 {
            0 => book.lifecycle.contact(),
            _ => book.lifecycle.contact_lost(&crate::error::Error::closed()),
        });
    }
    drop(held);
    until_told(&engine);
    let states = path(&told);
    assert!((64..=128).contains(&states.len()), "{}", states.len());
    assert_eq!(states.last(), Some(&"reconnecting"));
}
