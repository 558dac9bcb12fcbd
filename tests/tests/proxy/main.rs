//! The fault proxy does what its rules say: what the client saw, what the server saw, what the
//! log says.

#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

mod peers;

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use durstream_tests::http;
use durstream_tests::proxy::{Cut, Entry, Fault, Moment, Proxy, Rule, Settings};
use peers::{Client, LONG, RESET, Seen, Server, ok, wait_until};
use serde_json::{Value, json};

fn start() -> (Server, Proxy) {
    let server = Server::start("hello");
    let proxy = Proxy::start(server.address).unwrap();
    (server, proxy)
}

fn seen(line: &str, body: &str, whole: bool) -> Seen {
    Seen { line: format!("{line} HTTP/1.1"), body: body.as_bytes().to_vec(), whole }
}

/// What an entry says in short: faults, the server's status, the client's.
fn short(entry: &Entry) -> (Vec<&'static str>, Option<u16>, Option<u16>) {
    let faults = entry.rules.iter().map(|rule| rule.1).collect();
    let status =
        |answer: &Option<durstream_tests::proxy::Answer>| answer.as_ref().map(|a| a.status);
    (faults, status(&entry.server_answer), status(&entry.answer))
}

#[test]
fn without_rules_everything_gets_through_on_one_connection() {
    let (server, proxy) = start();
    let mut client = Client::of(&proxy);
    assert_eq!(client.post("abc"), ok("hello"));
    assert_eq!(client.send("HEAD", "/x", b""), ok(""));
    assert_eq!(client.send("GET", "/chunked", b""), ok("abcde"));
    assert_eq!(client.send("GET", "/nothing", b"").unwrap().0, "HTTP/1.1 204 No Content");
    let chunked =
        "POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write(chunked.as_bytes());
    assert_eq!(client.receive(true).unwrap().0, "HTTP/1.1 100 Continue");
    assert_eq!(client.raw(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), ok("abcde"));
    assert_eq!(client.send("GET", "/endless", b""), ok("hello"));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let log = proxy.log();
    assert_eq!(log.len(), 6);
    assert_eq!(server.seen().len(), 6);
    assert_eq!(server.seen()[0], seen("POST /x?y=1", "abc", true));
    assert_eq!((log[0].number, log[0].connection, log[5].connection), (1, 1, 1));
    assert_eq!((log[0].method.as_str(), log[0].target.as_str()), ("POST", "/x?y=1"));
    assert_eq!((log[0].header("content-length"), log[0].body_bytes), (Some("3"), 3));
    assert_eq!((log[4].body.as_slice(), log[4].error.as_deref()), (&b"abcde"[..], None));
    assert_eq!(short(&log[0]), (vec![], Some(200), Some(200)));
    let answer = log[0].answer.as_ref().unwrap();
    assert!(answer.headers.contains(&("X-Server".to_owned(), "yes".to_owned())));
}

#[test]
fn refuse_resets_new_connections_and_ends_idle_ones() {
    let (server, proxy) = start();
    let mut kept = Client::of(&proxy);
    assert_eq!(kept.post("1"), ok("hello"));
    proxy.add(Rule::new(Fault::Refuse).skip(1)).unwrap();
    assert!(kept.post("2").is_err());
    assert_eq!(Client::of(&proxy).post("3"), ok("hello"));
    assert_eq!(Client::of(&proxy).post("4"), RESET);
    assert_eq!(Client::of(&proxy).post("5"), ok("hello"));
    assert_eq!(server.seen().len(), 3);
    let log = proxy.log();
    assert_eq!(log.len(), 4);
    assert_eq!((log[2].connection, log[2].method.as_str()), (3, ""));
    assert_eq!(short(&log[2]), (vec!["refuse"], None, None));
}

#[test]
fn closed_means_nobody_listens() {
    let (_server, proxy) = start();
    let mut kept = Client::of(&proxy);
    assert_eq!(kept.post("1"), ok("hello"));
    let connect = || TcpStream::connect(proxy.address()).map(drop).map_err(|error| error.kind());
    for round in 0..3 {
        let rule = proxy.add(Rule::new(Fault::Closed { for_ms: None })).unwrap();
        assert_eq!(connect(), Err(ErrorKind::ConnectionRefused));
        assert!(kept.post("2").is_err());
        if round == 0 {
            assert!(proxy.remove(rule))
        } else {
            proxy.clear()
        }
        assert_eq!(Client::of(&proxy).post("3"), ok("hello"));
        assert!(!proxy.remove(rule));
    }
    proxy.add(Rule::new(Fault::Closed { for_ms: Some(1) })).unwrap();
    wait_until(|| connect().is_ok());
    assert_eq!(Client::of(&proxy).post("4"), ok("hello"));
    proxy.add(Rule::new(Fault::Closed { for_ms: None })).unwrap();
    proxy.stop(); // and ends while it is closed
}

#[test]
fn reset_before_forwards_nothing() {
    let (server, proxy) = start();
    proxy.add(Rule::new(Fault::ResetBefore).method("POST").path("y=1").skip(1)).unwrap();
    let mut client = Client::of(&proxy);
    assert_eq!(client.post("1"), ok("hello"));
    assert_eq!(client.send("GET", "/x?y=1", b""), ok("hello"));
    assert_eq!(client.post("2"), RESET);
    assert_eq!(Client::of(&proxy).post("3"), ok("hello"));
    let bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"1".to_vec(), vec![], b"3".to_vec()]);
    assert_eq!(short(&proxy.log()[2]), (vec!["reset-before"], None, None));
}

#[test]
fn reset_within_forwards_so_much_of_the_body() {
    let (server, proxy) = start();
    proxy.add(Rule::new(Fault::ResetWithin { bytes: 4 }).times(2)).unwrap();
    assert_eq!(Client::of(&proxy).post("abcdefgh"), RESET);
    assert_eq!(server.wait_for(1), [seen("POST /x?y=1", "abcd", false)]);
    let chunked =
        b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(Client::of(&proxy).raw(chunked), RESET);
    assert_eq!(server.wait_for(2)[1], seen("POST /c", "abcd", false));
    let log = proxy.log();
    assert_eq!(short(&log[1]), (vec!["reset-within"], None, None));
    assert_eq!((log[1].body_bytes, log[1].body.as_slice()), (4, &b"abcd"[..]));
}

#[test]
fn reset_after_lets_the_server_finish() {
    let (server, proxy) = start();
    proxy.add(Rule::new(Fault::ResetAfter)).unwrap();
    assert_eq!(Client::of(&proxy).post("abc"), RESET);
    assert_eq!(server.seen(), [seen("POST /x?y=1", "abc", true)]);
    assert_eq!(short(&proxy.log()[0]), (vec!["reset-after"], Some(200), None));
    assert_eq!(Client::of(&proxy).post("abc"), ok("hello"));
}

#[test]
fn cut_answers_end_where_they_are_cut() {
    let (server, proxy) = start();
    let cut = |at, close| proxy.add(Rule::new(Fault::CutAnswer { at, close })).unwrap();
    let received = |expected: ErrorKind| {
        let mut client = Client::of(&proxy);
        client.write(b"GET /x HTTP/1.1\r\n\r\n");
        let mut bytes = Vec::new();
        let end = client.0.read_to_end(&mut bytes).map_or_else(|e| e.kind(), |_| ErrorKind::Other);
        assert_eq!(end, expected);
        String::from_utf8(bytes).unwrap()
    };
    let head = "HTTP/1.1 200 OK\r\nX-Server: yes\r\nContent-Length: 5\r\n\r\n";
    cut(Cut::Body(2), false);
    assert_eq!(received(ErrorKind::ConnectionReset), format!("{head}he"));
    cut(Cut::Body(0), false);
    assert_eq!(received(ErrorKind::ConnectionReset), head);
    cut(Cut::Head(12), false);
    assert_eq!(received(ErrorKind::ConnectionReset), "HTTP/1.1 200");
    cut(Cut::Body(4), true);
    assert_eq!(received(ErrorKind::Other), format!("{head}hell"));
    cut(Cut::Head(4), true);
    assert_eq!(received(ErrorKind::Other), "HTTP");
    assert_eq!(server.seen().len(), 5);
    let log = proxy.log();
    assert_eq!(short(&log[0]), (vec!["cut-answer"], Some(200), Some(200)));
    assert_eq!(short(&log[2]), (vec!["cut-answer"], Some(200), None));
}

#[test]
fn stall_never_answers() {
    let (server, proxy) = start();
    proxy.add(Rule::new(Fault::Stall { forward: true })).unwrap();
    proxy.add(Rule::new(Fault::Stall { forward: false })).unwrap();
    let mut forwarded = Client::of(&proxy);
    forwarded.write(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
    server.wait_for(1);
    let mut kept = Client::of(&proxy);
    kept.write(b"POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\ncd");
    wait_until(|| proxy.log().get(1).is_some_and(|entry| entry.body_bytes == 2));
    // The clients find nothing, and others get through.
    assert_eq!(Client::of(&proxy).post("3"), ok("hello"));
    for client in [&mut forwarded, &mut kept] {
        client.0.get_mut().set_nonblocking(true).unwrap();
        let nothing = client.0.get_mut().peek(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(server.seen().len(), 2);
    assert_eq!(short(&proxy.log()[1]), (vec!["stall"], None, None));
    wait_until(|| short(&proxy.log()[0]) == (vec!["stall"], Some(200), None));
}

#[test]
fn held_requests_wait_for_their_name_while_others_pass() {
    let (server, proxy) = start();
    let hold = |name: &str, before| {
        proxy.add(Rule::new(Fault::Hold { name: name.to_owned(), before })).unwrap();
    };
    hold("a", Moment::Forward);
    hold("b", Moment::Answer);
    std::thread::scope(|scope| {
        let a = scope.spawn(|| Client::of(&proxy).post("a"));
        assert!(proxy.wait_held("a", 1, LONG));
        let b = scope.spawn(|| Client::of(&proxy).post("b"));
        assert!(proxy.wait_held("b", 1, LONG));
        assert_eq!(Client::of(&proxy).post("c"), ok("hello"));
        let bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
        assert_eq!(bodies, [b"b", b"c"]);
        assert_eq!((proxy.release("nobody"), proxy.held("a")), (0, 1));
        assert_eq!((proxy.release("a"), proxy.release("a")), (1, 0));
        assert_eq!(a.join().unwrap(), ok("hello"));
        assert!(!b.is_finished());
        proxy.clear();
        assert_eq!(b.join().unwrap(), ok("hello"));
    });
    // What is held arrives late, even when its sender is gone.
    hold("late", Moment::Forward);
    let mut gone = Client::of(&proxy);
    gone.write(b"POST /slow HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
    assert!(proxy.wait_held("late", 1, LONG));
    drop(gone);
    proxy.release("late");
    assert_eq!(server.wait_for(4)[3], seen("POST /slow", "ab", true));
    assert_eq!(short(&proxy.log()[0]), (vec!["hold"], Some(200), Some(200)));
    wait_until(|| proxy.log()[3].server_answer.is_some());
}

#[test]
fn a_client_that_leaves_is_missed_by_the_server() {
    let (server, proxy) = start();
    let mut client = Client::of(&proxy);
    client.write(b"GET /never HTTP/1.1\r\n\r\n");
    wait_until(|| server.connections.load(Ordering::SeqCst) == 1);
    assert!(server.seen().is_empty());
    drop(client);
    assert_eq!(server.wait_for(1), [seen("GET /never", "left", true)]);
}

#[test]
fn delays_and_latency_take_their_time_and_go_together() {
    let (_server, proxy) = start();
    proxy.add(Rule::new(Fault::Latency { ms: 20 })).unwrap();
    for before in [Moment::Forward, Moment::Answer] {
        proxy.add(Rule::new(Fault::Delay { ms: 30, before })).unwrap();
        let started = Instant::now();
        assert_eq!(Client::of(&proxy).post("1"), ok("hello"));
        assert!(started.elapsed() >= Duration::from_millis(50));
    }
    let started = Instant::now();
    assert_eq!(Client::of(&proxy).post("1"), ok("hello"));
    assert!(started.elapsed() >= Duration::from_millis(20));
    let log = proxy.log();
    assert_eq!(short(&log[1]).0, ["latency", "delay"]);
    assert_eq!(short(&log[2]).0, ["latency"]);
}

#[test]
fn answers_of_ours_with_and_without_the_server() {
    let (server, proxy) = start();
    let rule = json!({ "fault": "answer", "status": 503, "headers": { "Retry-After": "1" },
        "body": "later", "times": 2 });
    proxy.add_json(&rule).unwrap();
    let mut client = Client::of(&proxy);
    assert_eq!(client.post("abc"), Ok(("HTTP/1.1 503 Answer".to_owned(), "later".to_owned())));
    assert_eq!(
        client.send("HEAD", "/x", b""),
        Ok(("HTTP/1.1 503 Answer".to_owned(), String::new()))
    );
    assert!(server.seen().is_empty());
    proxy.add_json(&json!({ "fault": "answer", "status": 204, "forward": true })).unwrap();
    assert_eq!(client.post("abc").unwrap().0, "HTTP/1.1 204 Answer");
    assert_eq!(server.seen(), [seen("POST /x?y=1", "abc", true)]);
    assert_eq!(client.post("abc"), ok("hello"));
    let log = proxy.log();
    assert_eq!(short(&log[0]), (vec!["answer"], None, Some(503)));
    assert_eq!(short(&log[2]), (vec!["answer"], Some(200), Some(204)));
    assert_eq!(log[3].connection, 1);
    let answer = log[0].to_json()["answer"].clone();
    assert_eq!(
        answer,
        json!({ "status": 503,
        "headers": { "retry-after": "1", "content-length": "5" } })
    );
}

#[test]
fn big_bodies_get_through_unchanged_and_the_log_keeps_their_beginning() {
    let server = Server::start("hello");
    let settings = Settings { max_body_bytes: 10, ..Settings::default() };
    let proxy = Proxy::start_with(server.address, settings).unwrap();
    let body: String = (0..1 << 20).map(|n| format!("{n:08}")).collect();
    let mut client = Client::of(&proxy);
    assert!(client.send("POST", "/echo", body.as_bytes()).unwrap().1 == body);
    let entry = proxy.log().remove(0);
    assert_eq!((entry.body_bytes, entry.body.as_slice()), (8 << 20, &b"0000000000"[..]));
}

#[test]
fn bodies_and_their_lengths_pick_requests() {
    let (server, proxy) = start();
    for rule in [
        json!({ "fault": "answer", "status": 400, "with_body": "bad", "times": 0 }),
        json!({ "fault": "answer", "status": 413, "min_bytes": 6, "times": 0 }),
        json!({ "fault": "reset-within", "bytes": 2, "skip": 1 }),
    ] {
        proxy.add_json(&rule).unwrap();
    }
    let mut client = Client::of(&proxy);
    assert_eq!(client.post("abc"), ok("hello"));
    assert_eq!(client.post("a bad").unwrap().0, "HTTP/1.1 400 Answer");
    assert_eq!(client.post("longer").unwrap().0, "HTTP/1.1 413 Answer");
    // Read whole for the first rule, and yet only a part of it gets through.
    assert_eq!(client.post("abc"), RESET);
    let expected = [seen("POST /x?y=1", "abc", true), seen("POST /x?y=1", "ab", false)];
    assert_eq!(server.wait_for(2), expected);
    assert_eq!(proxy.fired(), 3);
}

#[test]
fn an_early_answer_reaches_the_client() {
    let (server, proxy) = start();
    let body = vec![b'x'; 32 << 20];
    let answer = Client::of(&proxy).send("POST", "/early", &body);
    assert_eq!(answer.unwrap().0, "HTTP/1.1 413 No");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_server_may_go_and_another_come() {
    let (server, proxy) = start();
    let mut client = Client::of(&proxy);
    assert_eq!(client.post("1"), ok("hello"));
    proxy.set_upstream(Server::start("other").address);
    assert_eq!(client.post("2"), ok("other"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    proxy.set_upstream(nobody);
    assert_eq!(client.post("3"), RESET);
    assert!(proxy.log()[2].error.as_ref().unwrap().contains("refused"));
    proxy.set_upstream(server.address);
    assert_eq!(Client::of(&proxy).post("4"), ok("hello"));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn stopping_ends_what_waits() {
    let (_server, proxy) = start();
    proxy.add(Rule::new(Fault::Hold { name: "a".to_owned(), before: Moment::Forward })).unwrap();
    proxy.add(Rule::new(Fault::Delay { ms: 3_600_000, before: Moment::Answer })).unwrap();
    proxy.add(Rule::new(Fault::Stall { forward: true })).unwrap();
    let address = proxy.address();
    let mut clients: Vec<_> = (0..4).map(|_| Client::of(&proxy)).collect();
    for (n, client) in clients[..3].iter_mut().enumerate() {
        client.write(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nab");
        wait_until(|| proxy.log().len() > n);
    }
    proxy.stop();
    for mut client in clients {
        assert!(client.receive(false).is_err());
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_program_is_driven_over_its_control_port() {
    let server = Server::start("hello");
    let mut program = Command::new(env!("CARGO_BIN_EXE_durstream-proxy"));
    program.args(["--upstream", &format!("http://{}", server.address), "--seed", "7"]);
    let mut program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let place = |name: &str| -> SocketAddr {
        line[name].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    };
    let ask = |method: &str, path: &str, body: &str| {
        let mut client = Client(BufReader::new(TcpStream::connect(place("control")).unwrap()));
        let (first, body) = client.send(method, path, body.as_bytes()).unwrap();
        let status: u16 = first.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let rules = r#"[{"fault":"answer","status":500},{"fault":"hold","name":"a"}]"#;
    assert_eq!(ask("POST", "/rules", rules), (200, json!({ "rules": [1, 2] })));
    for wrong in [r#"{"fault":"boom"}"#, r#"{"fault":"refuse","bytes":1}"#, "{", r#"[{"a":1}]"#] {
        assert_eq!(ask("POST", "/rules", wrong).0, 400, "{wrong}");
    }
    assert_eq!(http::get(place("url"), "/x").unwrap().status, 500);
    let held = std::thread::Builder::new();
    let url = place("url");
    let held = held.spawn(move || http::get(url, "/y").unwrap().body).unwrap();
    wait_until(|| ask("GET", "/held/a", "").1 == json!({ "held": 1 }));
    assert_eq!(ask("POST", "/release/a", "").1, json!({ "released": 1 }));
    assert_eq!(held.join().unwrap(), b"hello");
    let log = ask("GET", "/log", "").1;
    assert_eq!(log["entries"][0]["rules"], json!([{ "rule": 1, "fault": "answer" }]));
    assert_eq!(log["entries"][1]["target"], "/y");
    assert_eq!(ask("DELETE", "/log", "").0, 200);
    assert_eq!(ask("GET", "/log", "").1, json!({ "entries": [] }));
    assert_eq!(ask("DELETE", "/rules/1", "").0, 200);
    assert_eq!(ask("DELETE", "/rules/1", "").0, 404);
    assert_eq!(ask("DELETE", "/rules", "").0, 200);
    assert_eq!(ask("GET", "/nothing", "").0, 404);
    let other = Server::start("other").address;
    let body = json!({ "address": other.to_string() }).to_string();
    assert_eq!(ask("POST", "/upstream", &body), (200, json!({})));
    assert_eq!(http::get(place("url"), "/z").unwrap().body, b"other");
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
}
