//! The project's commands: `cargo xtask demo`, `cargo xtask test` and the rest.
#![allow(clippy::print_stdout, reason = "its output is what a person runs it for")]

mod artefacts;
mod harness;
mod install;
mod simulate;
mod stage;
mod suites;
mod toolchain;
mod with_server;

use std::process::ExitCode;

use durstream_tests::failure::Result;
use durstream_tests::harness::finish;
use durstream_tests::signals;
use durstream_tests::tree::Tree;

struct Command {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&Tree, &[String]) -> Result<u8>,
}

const COMMANDS: [Command; 12] = [
    Command {
        name: "demo",
        usage: "demo [--only rust|c|python|node]… [--keep] [--outbox] [--shipments N] [--web [--seconds N] [--screenshot DIR]]",
        about: "a shipment service in five languages, restarted half way and its server killed; counts what arrived\n\
                --only builds and shows one language; --keep leaves the server up until Ctrl-C; N is 2000 unless told\n\
                --outbox has the services killed in place of restarted, while their server is away\n\
                --web shows it on a page as it happens, 1000 shipments in 60 seconds unless told; Ctrl-C ends it early;\n\
                --screenshot has a Chromium take pictures of the page",
        run: |tree, words| harness::run(tree, "demo", words),
    },
    Command {
        name: "test",
        usage: "test [rust|c|python|node|conformance|faults|interop|ends|board|comparison|readme|packages|sanitizers|fuzz|cluster|soak …]",
        about: "every test of every language against a real server; all suites unless told\n\
                but those from sanitizers on, which run when they are named\n\
                fuzz takes DURSTREAM_FUZZ_SECONDS for each target, 60 unless told",
        run: suites::test,
    },
    Command {
        name: "with-server",
        usage: "with-server -- CMD ARGS…",
        about: "runs a command with DURABLE_STREAMS_URL set to a fresh server",
        run: with_server::with_server,
    },
    Command {
        name: "conformance",
        usage: "conformance [--adapter rust|c|python|node]… [--case PATTERN]",
        about: "the cases of tests/conformance with each language's adapter\n\
                PATTERN is a part of a case's id, or with * a whole one",
        run: |tree, words| harness::run(tree, "conformance", words),
    },
    Command {
        name: "faults",
        usage: "faults [--only PATTERN]… [--seed S] [--list] [--kills N] [--report]",
        about: "producers against real servers with faults injected; counts what was lost or doubled\n\
                PATTERN is a part of a row's name; a random seed unless told\n\
                N writers of each language with an outbox are killed: 200 with --only, else 12; --report writes\n\
                their table into tests/faults/README.md",
        run: |tree, words| harness::run(tree, "faults", words),
    },
    Command {
        name: "soak",
        usage: "soak [--minutes N] [--seed S] [--report]",
        about: "services in four languages under faults of all kinds: what they lose, and what they hold of memory\n\
                60 minutes and a random seed unless told; --report writes docs/soak.md",
        run: |tree, words| harness::run(tree, "soak", words),
    },
    Command {
        name: "interop",
        usage: "interop [--only rust|c|cpp|python|node]…",
        about: "what each language's state producer writes, read by the reference libraries and curl\n\
                DURSTREAM_INTEROP_STRICT_EVENTS are 20000 for each language, DURSTREAM_INTEROP_SEED random unless told",
        run: |tree, words| harness::run(tree, "interop", words),
    },
    Command {
        name: "bench",
        usage: "bench [--quick] [--round-trip-ms N] [--only PATTERN] [--upstream PATH] [--json FILE]\n  \
                bench --report [--quick] [--only PARTS] [--upstream PATH]",
        about: "how fast each language's client is, beside what its users would otherwise pick\n\
                --quick takes five rounds and under five minutes, else it is fifteen; PATTERN is a part of CONTESTANT/MESSAGES\n\
                PATH is a checkout of upstream's clients; --sweep compares batch sizes instead; --report measures\n\
                everything and writes tests/bench/REPORT.md, with --only latency,memory these parts anew",
        run: |tree, words| harness::run(tree, "bench", words),
    },
    Command {
        name: "package",
        usage: "package [python|npm|c|crates]… [--platform NAME]…",
        about: "what a release uploads, below target/packages: built, installed elsewhere and run; packaging/README.md",
        run: |tree, words| harness::run(tree, "package", words),
    },
    Command {
        name: "simulate",
        usage: "simulate [--schedules N] [--seed S]",
        about: "the engine over a model server: random faults and calls in virtual time\n\
                10000 schedules from a random seed unless told; a failing one is shrunk and printed",
        run: simulate::simulate,
    },
    Command {
        name: "install-c",
        usage: "install-c --prefix DIR [--libdir lib|lib64|lib/ARCHITECTURE] [--destdir DIR]",
        about: "builds the C library and installs it: headers, shared and static library, pkg-config and CMake files\n\
                the prefix may be moved as a whole afterwards; --destdir is put before it, for who makes packages",
        run: install::install_c,
    },
    Command {
        name: "adapter",
        usage: "adapter rust|c|python|node",
        about: "builds a conformance adapter and becomes it; see tests/conformance/README.md",
        run: harness::become_adapter,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("help", String::as_str);
    if matches!(name, "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("xtask has no command {name:?}.\n\n{}", help());
        return ExitCode::from(2);
    };
    signals::watch();
    // Returning, not exiting, so that what guards hold is let go.
    let result = Tree::find().and_then(|tree| (command.run)(&tree, &arguments[1..]));
    finish(name, result)
}

fn help() -> String {
    let mut text = "cargo xtask COMMAND\n".to_owned();
    for command in &COMMANDS {
        text += &format!("\n  {}\n", command.usage);
        text.extend(command.about.lines().map(|line| format!("      {line}\n")));
    }
    text
}
