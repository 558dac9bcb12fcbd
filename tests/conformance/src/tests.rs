//! The runner against adapters and a server that are a few lines each.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::*;

/// Answers `init` and `shutdown` as it should and everything else with `answer`, a line of shell.
fn bench(server: SocketAddr, answer: &str) -> Bench {
    bench_within(Duration::from_secs(60), server, answer)
}

fn bench_within(limit: Duration, server: SocketAddr, answer: &str) -> Bench {
    let script = r#"while read -r line; do case $line in
        *'"init"'*) echo '{"type":"init","success":true}';;
        *'"shutdown"'*) echo '{"type":"shutdown","success":true}'; exit 0;;
        *) "#;
    let script = format!("{script}{answer};; esac; done");
    let command = move || {
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    };
    let log = "/dev/null".into();
    Bench::new(Program { command: Box::new(command), log, limit }, server, None).unwrap()
}

fn case(operations: &str) -> Case {
    let text = format!("about: x\ncases:\n- id: a\n  name: A\n  operations:\n{operations}");
    case::parse(&text).unwrap().remove(0)
}

/// Where nobody listens.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// A server whose every stream holds the same.
fn server(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let lines = BufReader::new(socket.try_clone().unwrap()).lines();
            let head: Vec<_> =
                lines.map_while(|line| line.ok()).take_while(|l| !l.is_empty()).collect();
            let body = if head[0].starts_with("HEAD") { "" } else { body };
            let head = "HTTP/1.1 200 OK\r\nStream-Up-To-Date: true\r\nStream-Closed: true\r\n";
            write!(socket, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
    address
}

const SUCCESS: &str = r#"echo '{"type":"append","success":true,"status":200}'"#;
const CONFLICT: &str = r#"echo '{"type":"error","success":false,"commandType":"append",
    "errorCode":"CONFLICT","message":"no"}' | tr -d '\n'; echo"#;
const APPEND: &str = "  - {action: append, data: x}\n";
const REFUSED: &str = "  - {action: append, data: x, expect: {error: CONFLICT}}\n";

#[test]
fn success_and_failure_are_both_enforced() {
    for (answer, operations, passes) in [
        (SUCCESS, APPEND, true),
        (SUCCESS, REFUSED, false),
        (CONFLICT, REFUSED, true),
        (CONFLICT, APPEND, false),
    ] {
        let mut bench = bench(nowhere(), answer);
        let result = bench.run(&case(operations));
        assert_eq!(result.is_ok(), passes, "{answer} to {operations}");
        bench.finish().unwrap();
    }
}

#[test]
fn variables_are_filled_in_what_is_expected() {
    let path = r#"path=$(echo "$line" | sed 's/.*"path":"\([^"]*\)".*/\1/')"#;
    let answer = CONFLICT.replace("\"no\"", "\"at '$path'\"");
    let mut bench = bench(nowhere(), &format!("{path}; {answer}"));
    let expecting = |texts: &str| {
        case(&format!("  - {{action: append, data: x, expect: {{error: CONFLICT, {texts}}}}}\n"))
    };
    bench.run(&expecting("says: ['at ${path}']")).unwrap();
    assert!(bench.run(&expecting("says: ['at ${server}']")).is_err());
    assert!(bench.run(&expecting("neverSays: ['${path}']")).is_err());
}

#[test]
fn the_second_operation_is_named() {
    let mut bench = bench(nowhere(), SUCCESS);
    let failure = bench.run(&case(&format!("{APPEND}{REFUSED}"))).unwrap_err().to_string();
    assert!(
        failure.starts_with("operation 2 (append): expected CONFLICT, seen success"),
        "{failure}"
    );
}

#[test]
fn a_hang_is_cut_and_the_next_case_runs() {
    let hangs_once = format!("case $line in *stuck*) exec sleep 60;; *) {SUCCESS};; esac");
    let mut bench = bench_within(Duration::from_secs(2), nowhere(), &hangs_once);
    let failure = bench.run(&case("  - {action: append, data: stuck}\n")).unwrap_err();
    assert!(failure.to_string().contains("no answer within 2 s"), "{failure}");
    bench.run(&case(APPEND)).unwrap();
}

#[test]
fn an_adapter_that_ends_or_babbles_fails_its_case() {
    for (answer, text) in [
        ("exit 3", "the adapter ended: exit status: 3"),
        ("echo hello", "hello"),
        ("echo '[]'", "no object"),
        (r#"echo '{"type":"head","success":true}'"#, "expected a result of append"),
    ] {
        let failure = bench(nowhere(), answer).run(&case(APPEND)).unwrap_err().to_string();
        assert!(failure.contains(text), "{answer}: {failure}");
    }
    let twice = r#"echo '{"type":"append","success":true}'; echo 2"#;
    assert!(bench(nowhere(), twice).run(&case(&APPEND.repeat(2))).is_err());
}

#[test]
fn an_adapter_that_does_not_start_is_no_case_s_failure() {
    let command = Box::new(|| Command::new("no-such-adapter-anywhere"));
    let program = Program { command, log: "/dev/null".into(), limit: Duration::from_secs(1) };
    assert!(Bench::new(program, nowhere(), None).unwrap().start().is_err());
}

#[test]
fn a_restart_is_a_new_process() {
    let counts = r#"n=$((n+1)); echo '{"type":"append","success":true,"offset":"'$n'"}'"#;
    let mut bench = bench(nowhere(), counts);
    for kill in ["", ", kill: true"] {
        let operations = format!(
            "  - {{action: append, data: x, expect: {{offset: '1'}}}}\n  \
             - {{action: append, data: x, expect: {{offset: '2'}}}}\n  \
             - {{action: restart-adapter{kill}}}\n  \
             - {{action: append, data: x, save: {{n: offset}}, expect: {{offset: '1'}}}}\n  \
             - {{action: append, data: '${{n}}', expect: {{offset: '2'}}}}\n  \
             - {{action: restart-adapter, kill: true}}\n"
        );
        bench.run(&case(&operations)).unwrap();
    }
}

#[test]
fn what_is_in_the_stream_is_compared_exactly() {
    let mut bench = bench(server("[1, {\"a\" : 2}]"), SUCCESS);
    let mut passes = |expected: &str| {
        bench.run(&case(&format!("  - {{action: expect-stream, {expected}}}\n"))).is_ok()
    };
    assert!(passes(r#"messages: ["1", "{\"a\" : 2}"], closed: true"#));
    assert!(passes(r#"text: "[1, {\"a\" : 2}]""#));
    for wrong in [
        r#"messages: ["1", "{\"a\": 2}"]"#,
        r#"messages: ["1"]"#,
        r#"messages: ["{\"a\" : 2}", "1"]"#,
        r#"text: "[1]""#,
        "closed: false",
        "missing: true",
        "contentType: text/plain",
        "ttlSeconds: '1'",
    ] {
        assert!(!passes(wrong), "{wrong} passed");
    }
}

#[test]
fn what_was_not_sent_is_not_found() {
    let mut bench = bench(nowhere(), SUCCESS);
    let mut passes = |expected: &str| {
        bench.run(&case(&format!("  - {{action: expect-requests, {expected}}}\n"))).is_ok()
    };
    assert!(passes("count: 0"));
    assert!(!passes("method: POST"));
}

#[test]
fn a_held_request_that_is_not_there_is_not_released() {
    let mut bench = bench(nowhere(), SUCCESS);
    assert!(bench.run(&case("  - {action: release, name: a}\n")).is_err());
    assert!(bench.run(&case("  - {action: fault, rule: {fault: explode}}\n")).is_err());
}

#[test]
fn a_broken_adapter_is_given_up() {
    let mut bench = bench(nowhere(), CONFLICT);
    let cases: Vec<Case> = (0..MAX_FAILURES_IN_A_ROW + 2).map(|_| case(APPEND)).collect();
    let column = run_all(&mut bench, "c", &cases).unwrap();
    let expected = format!("0 passed, {MAX_FAILURES_IN_A_ROW} failed, 2 not run");
    assert_eq!((column.summary(), column.is_clean()), (expected, false));
}

#[test]
fn options_and_patterns() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let options = parse(&words("--adapter c --adapter rust --case ttl")).unwrap();
    assert_eq!((options.adapters, options.cases), (vec!["c", "rust"], Some("ttl".to_owned())));
    assert_eq!(parse(&[]).unwrap().adapters, adapters::NAMES);
    for wrong in ["--adapter", "--adapter go", "--case", "--fast"] {
        assert!(parse(&words(wrong)).is_err(), "{wrong} was taken");
    }
    for (pattern, id, holds) in [
        ("ttl", "a-ttl-b", true),
        ("ttl", "a", false),
        ("a-*", "a-ttl", true),
        ("a-*", "b-a-ttl", false),
        ("*-b", "a-b", true),
        ("a*b*c", "a-b-c", true),
        ("a*b*c", "a-c", false),
        ("ab*bc", "abc", false),
    ] {
        assert_eq!(matches(pattern, id), holds, "{pattern} {id}");
    }
}
