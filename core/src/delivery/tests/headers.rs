//! Header functions are asked once per request, and again after a 401 (delivery.md 4, 9). In real time:
//! the functions run on a thread of their own.

use std::sync::Mutex;

use crate::delivery::callbacks::{Callbacks, ErrorCallback, Failure};
use crate::delivery::tests::*;
use crate::options::headers::{HeaderAnswer, HeaderFn};

/// A function that gives `token-1`, `token-2`, ...
fn counting() -> (HeaderFn, Arc<Mutex<u32>>) {
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    let function = move |answer: HeaderAnswer| {
        let mut calls = lock(&counted);
        *calls += 1;
        answer.give(format!("token-{calls}"));
    };
    (Arc::new(function), calls)
}

fn open_asking(server: &Scripted, options: Options, function: HeaderFn) -> Arc<Engine> {
    let stream = model().header_fn("Authorization", function);
    start_at(&runtime(server), &stream, options, None, None)
}

fn tokens(server: &Scripted) -> Vec<String> {
    lock(&server.model).tokens.clone()
}

fn quick() -> Options {
    single().retry_initial_delay_ms(1u64).retry_max_delay_ms(1u64)
}

#[tokio::test]
async fn a_value_is_asked_for_once_per_request_and_kept_for_its_repeats() {
    let server = Scripted::new([status(503), Fault::Refuse, Fault::None, Fault::None]);
    let (function, calls) = counting();
    let engine = open_asking(&server, quick().max_in_flight(1u64), function);
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(tokens(&server), ["token-1", "token-1", "token-2"]);
    assert_eq!(*lock(&calls), 2);
}

#[tokio::test]
async fn refused_credentials_are_asked_for_again() {
    // The first answer is mended at once; the second only after a pause.
    let server = Scripted::new([status(401), Fault::None, status(403), status(401)]);
    let (function, _) = counting();
    let engine = open_asking(&server, quick().max_in_flight(1u64), function);
    write(&engine, 1..=2);
    engine.flush().await.unwrap();
    assert_eq!(tokens(&server), ["token-1", "token-2", "token-3", "token-4", "token-5"]);
    assert_eq!((server.stored(), engine.stats().sessions), (numbers(1..=2), 1));
}

/// "A slow `on_error` of one producer makes no other's request late."
#[tokio::test]
async fn a_callback_that_blocks_keeps_no_header_function_waiting() {
    let server = Scripted::new([Fault::Refuse]);
    let (function, _) = counting();
    let endpoint = Endpoint::resolve(&model()).unwrap();
    let runtime = runtime(&server);
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let (blocks, blocked) = tokio::sync::oneshot::channel();
    let (wait, blocks) = (Mutex::new(wait), Mutex::new(Some(blocks)));
    let on_error: ErrorCallback = Arc::new(move |_: Failure| {
        lock(&blocks).take().unwrap().send(()).unwrap();
        let _ = lock(&wait).recv();
    });
    let slow = Config { producer_id: "slow".into(), ..config(Scope::Producer, &single()) };
    let callbacks = Callbacks { on_error: Some(on_error), ..Callbacks::default() };
    let slow = Engine::start_on(runtime.clone(), endpoint, slow, Some(callbacks), None);
    write(&slow, 1..=1);
    slow.stop_now();
    blocked.await.unwrap(); // and holds the callbacks' thread from here on

    let stream = model().header_fn("Authorization", function);
    let other = start_at(&runtime, &stream, quick(), None, None);
    write(&other, 1..=1);
    let flushed = tokio::time::timeout(Duration::from_secs(20), other.flush()).await;
    let_go.send(()).unwrap();
    assert!(flushed.is_ok_and(|flushed| flushed.is_ok()), "the function was asked in time");
}

#[tokio::test]
async fn writes_wait_for_a_function_that_fails() {
    let server = Scripted::default();
    let calls = Mutex::new(0);
    let function = move |answer: HeaderAnswer| {
        let mut calls = lock(&calls);
        *calls += 1;
        match *calls {
            1 => answer.fail("the token service is down"),
            2 => drop(answer),
            3 => answer.give("a\r\nb"),
            4 => panic!("a function's own"),
            _ => answer.give("good"),
        }
    };
    let engine = open_asking(&server, quick(), Arc::new(function));
    write(&engine, 1..=3);
    let report = engine.flush().await.unwrap();
    assert_eq!((report.delivered, report.uncertain), (3, 0));
    assert!(tokens(&server).iter().all(|token| token == "good"));
}

#[tokio::test]
async fn without_a_good_value_writes_end_with_the_reason() {
    let server = Scripted::new(std::iter::repeat_n(status(401), 10_000));
    let (function, _) = counting();
    let engine = open_asking(&server, quick().delivery_timeout_ms(2_000u64), function);
    write(&engine, 1..=1);
    let error = engine.flush().await.unwrap_err();
    let Some(Detail::Delivery { cause, .. }) = error.detail() else { panic!("{error:?}") };
    assert_eq!((cause.kind(), cause.status()), (ErrorKind::Unauthorized, Some(401)));
    // Unknown where a request was under way at that moment.
    assert!(!outcome(&engine, 1).await.is_delivered());
}

#[tokio::test]
async fn requests_start_in_order_however_long_a_function_takes() {
    let server = Scripted::default();
    let calls = Mutex::new(0);
    let handle = tokio::runtime::Handle::current();
    let function = move |answer: HeaderAnswer| {
        let mut calls = lock(&calls);
        *calls += 1;
        let pause = Duration::from_millis(if *calls % 2 == 0 { 20 } else { 0 });
        handle.spawn(async move {
            tokio::time::sleep(pause).await;
            answer.give("x");
        });
    };
    let engine = open_asking(&server, quick().max_in_flight(4u64), Arc::new(function));
    write(&engine, 1..=20);
    engine.flush().await.unwrap();
    let sequences: Vec<u64> = lock(&server.model).seen.iter().map(|(_, seq, _)| *seq).collect();
    assert_eq!(sequences, (0..20).collect::<Vec<_>>(), "nothing was sent twice");
}
