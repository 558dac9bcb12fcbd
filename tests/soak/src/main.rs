//! `soak`: services in four languages for an hour, behind proxies that make faults of every kind,
//! before a server that is killed again and again. All that they wrote is read back, and what they
//! hold of memory, descriptors and threads at the end is compared with what they held early on.
//! `tests/soak/README.md` says what they do.

mod check;
mod judge;
mod meter;
mod options;
mod page;
mod plot;
mod report;
mod run;
mod services;
mod tokens;
mod weather;

use std::process::ExitCode;

use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::harness::Harness;
use durstream_tests::needs::Need;
use durstream_tests::tree::Tree;
use options::Options;

fn main() -> ExitCode {
    Harness { name: "soak", parse: options::parse, needs: |options| Ok(needs(options)), run: soak }
        .main()
}

fn needs(options: &Options) -> Vec<Need> {
    let plots = options.report.then(|| Need::RustPrograms(plot::PROGRAM.into()));
    [Need::Server].into_iter().chain(services::needs()).chain(plots).collect()
}

fn soak(tree: &Tree, options: Options) -> Result<u8> {
    if cfg!(not(target_os = "linux")) {
        return Err("what a program holds is known on Linux alone".into());
    }
    let came_to = run::run(tree, &options)?;
    let problems = report::show(&came_to);
    if options.report {
        plot::draw(tree, &came_to)?;
        page::write(tree, &came_to, &problems)?;
    }
    problems.iter().for_each(|problem| console::line(&format!("WRONG: {problem}")));
    Ok(u8::from(!problems.is_empty()))
}
