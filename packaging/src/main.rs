//! `package`: what a release uploads. `packaging/README.md` says what is made and how it is tried.

mod artefact;
mod build;
mod c;
mod crates;
mod elsewhere;
mod host;
mod machine;
mod musl;
mod npm;
mod platforms;
mod python;
mod report;
mod texts;
mod tools;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use artefact::Artefact;
use build::Libraries;
use durstream_tests::console;
use durstream_tests::failure::Result;
use durstream_tests::harness::Harness;
use durstream_tests::needs::{CProgram, Need};
use durstream_tests::runner::{Runner, Suite};
use durstream_tests::server::Server;
use durstream_tests::tree::Tree;
use host::Loading;
use lexopt::prelude::*;
use machine::Machine;
use platforms::{Here, PLATFORMS, Platform};
use trial::Site;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Python,
    Npm,
    C,
    Crates,
}

const KINDS: [(&str, Kind); 4] =
    [("python", Kind::Python), ("npm", Kind::Npm), ("c", Kind::C), ("crates", Kind::Crates)];

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    kinds: Vec<Kind>,
    platforms: Vec<&'static Platform>,
    /// Of what the tests built, for this machine alone.
    as_built: bool,
    /// Write the notices and nothing else.
    notices: bool,
}

fn main() -> ExitCode {
    Harness { name: "package", parse, needs, run: package }.main()
}

/// `[python|npm|c|crates|notices]… [--platform NAME]… [--as-built]`
fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = lexopt::Parser::from_args(arguments);
    while let Some(word) = words.next()? {
        match word {
            Long("as-built") => options.as_built = true,
            Long("platform") => options.platforms.push(platform(&words.value()?.string()?)?),
            Value(value) if value == "notices" => options.notices = true,
            Value(value) => {
                let found = KINDS.iter().find(|(name, _)| value == *name);
                let (_, kind) = found.ok_or_else(|| {
                    format!("no packages {value:?}: there are python, npm, c, crates; and notices")
                })?;
                options.kinds.push(*kind);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

/// A platform that is built here.
fn platform(name: &str) -> Result<&'static Platform> {
    let mut built = PLATFORMS.iter().filter(|platform| platform.here.is_some());
    built.find(|platform| platform.name == name).ok_or_else(|| {
        let built = PLATFORMS.iter().filter(|platform| platform.here.is_some());
        let names: Vec<&str> = built.map(|platform| platform.name).collect();
        format!("no platform {name:?} is built here: there are {}", names.join(", ")).into()
    })
}

impl Options {
    fn makes(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether every kind is made of its platforms: that is reported.
    fn is_whole(&self) -> bool {
        !self.as_built && self.kinds.is_empty()
    }

    fn platforms(&self) -> Vec<(&'static Platform, &'static Here)> {
        let all = PLATFORMS.iter().filter(|platform| {
            let none_named = self.as_built || self.platforms.is_empty();
            if none_named { platform.is_host() } else { self.platforms.contains(platform) }
        });
        all.filter_map(|platform| Some((platform, platform.here.as_ref()?))).collect()
    }
}

fn needs(options: &Options) -> Result<Vec<Need>> {
    if options.notices {
        return Ok(Vec::new());
    }
    let mut needs = vec![Need::Server];
    if options.as_built {
        // With a program comes the library.
        needs.push(Need::CProgram(CProgram::example("C", "writing.c")));
        needs.push(Need::PythonPackage);
        needs.push(Need::NodePackage);
        return Ok(needs);
    }
    needs.push(tools::need());
    if options.makes(Kind::Npm) {
        let (title, folder) = ("Node packages".to_owned(), "bindings-node".to_owned());
        needs.push(Need::NpmPackages { title, folder });
    }
    Ok(needs)
}

fn package(tree: &Tree, options: Options) -> Result<u8> {
    if options.notices {
        texts::write_notices(tree)?;
        return Ok(0);
    }
    let started = Instant::now();
    let server = Server::start(tree)?;
    let mut runner = Runner::default();
    let mut suite = Suite::new(&mut runner, tree, "package", server.url());
    let site = Site { address: server.address() };
    let mut work = Work {
        options: &options,
        site,
        parts: None,
        made: Vec::new(),
        loading: Loading::default(),
    };
    work.all(&mut suite);
    let (made, loading) = (work.made, work.loading);
    let seconds = started.elapsed().as_secs_f64();
    let passed = runner.report(started.elapsed());
    if passed && options.is_whole() {
        report::write(tree, &made, &loading, seconds)?;
    } else if !options.as_built {
        console::line(&report::text(&made, &loading, seconds));
    }
    Ok(if passed { 0 } else { 1 })
}

/// What is made, and what was made so far.
struct Work<'a> {
    options: &'a Options,
    site: Site,
    parts: Option<PathBuf>,
    made: Vec<Artefact>,
    loading: Loading,
}

impl Work<'_> {
    fn all(&mut self, suite: &mut Suite<'_>) {
        if !self.options.as_built && !self.prepare(suite) {
            return suite.blocked("packages");
        }
        let made = self.folder("npm");
        let mut main = None;
        if self.options.makes(Kind::Npm) {
            suite.step("npm durstream", |tree| keep(&mut main, npm::main_package(tree, &made)));
        }
        for (platform, here) in self.options.platforms() {
            self.platform(suite, platform, here, main.as_mut());
        }
        self.made.extend(main);
        if self.options.as_built {
            return;
        }
        if self.options.makes(Kind::Python) {
            let mut sources = None;
            suite.step("sources for pip", |tree| keep(&mut sources, python::sources(tree)));
            if let Some(sources) = &mut sources {
                host::sources(suite, self.site, sources);
            }
            self.made.extend(sources);
        }
        if self.options.makes(Kind::Crates) {
            let mut core = None;
            suite.step("crate", |tree| keep(&mut core, crates::core(tree)));
            self.made.extend(core);
        }
    }

    /// What all packages hold.
    fn prepare(&mut self, suite: &mut Suite<'_>) -> bool {
        if self.options.makes(Kind::Npm) && !suite.step("facade", npm::facade) {
            return false;
        }
        let named = suite.step("notices", |tree| match &texts::differing(tree)?[..] {
            [] => Ok(()),
            names => {
                Err(format!("`cargo xtask package notices` has to be run for {names:?}").into())
            }
        });
        named && suite.step("parts", |tree| keep(&mut self.parts, texts::write_parts(tree)))
    }

    fn folder(&self, kind: &str) -> String {
        if self.options.as_built {
            format!("packages/as-built/{kind}")
        } else {
            format!("packages/{kind}")
        }
    }

    fn platform(
        &mut self,
        suite: &mut Suite<'_>,
        platform: &'static Platform,
        here: &'static Here,
        main: Option<&mut Artefact>,
    ) {
        let as_built = self.options.as_built;
        let (mut libraries, mut machine) = (None, None);
        if !platform.is_host() {
            suite.step(&format!("machine {}", platform.name), |tree| {
                machine = Machine::of(tree, platform, here)?;
                Ok(())
            });
        }
        if self.options.makes(Kind::Npm) || self.options.makes(Kind::C) {
            let built = suite.step(&format!("libraries {}", platform.name), |tree| {
                let made = if as_built {
                    build::as_built(tree)
                } else {
                    build::build(tree, platform, here)
                };
                keep(&mut libraries, made)
            });
            if !built {
                return suite.blocked(&format!("packages {}", platform.name));
            }
        }
        if self.options.makes(Kind::Python) {
            let mut wheel = None;
            suite.step(&format!("wheel {}", platform.name), |tree| {
                let made = if as_built {
                    python::as_built(tree, platform)
                } else {
                    python::wheel(tree, platform, here)
                };
                keep(&mut wheel, made)
            });
            match (wheel.as_mut(), &machine) {
                (Some(wheel), _) if platform.is_host() => {
                    self.loading.python = host::wheel(suite, self.site, wheel);
                }
                (Some(wheel), Some(machine)) => {
                    elsewhere::wheel(suite, self.site, machine, here, wheel);
                }
                _ => {}
            }
            self.made.extend(wheel);
        }
        let Some(libraries) = libraries else { return };
        if self.options.makes(Kind::Npm) {
            self.npm(suite, platform, &libraries, main, machine.as_ref());
        }
        if self.options.makes(Kind::C) {
            self.c(suite, platform, here, &libraries, machine.as_ref());
        }
    }

    fn npm(
        &mut self,
        suite: &mut Suite<'_>,
        platform: &'static Platform,
        libraries: &Libraries,
        main: Option<&mut Artefact>,
        machine: Option<&Machine>,
    ) {
        let (made, parts) = (self.folder("npm"), self.parts.as_deref());
        let mut addon = None;
        suite.step(&format!("npm {}", platform.name), |tree| {
            keep(&mut addon, npm::platform_package(tree, &made, platform, libraries, parts))
        });
        if let (Some(main), Some(addon)) = (main, addon.as_mut()) {
            if platform.is_host() {
                self.loading.node = host::npm_packages(suite, self.site, main, addon);
            } else if let Some(machine) = machine {
                elsewhere::npm_packages(suite, self.site, machine, &main.file, addon, platform);
            }
        }
        self.made.extend(addon);
    }

    fn c(
        &mut self,
        suite: &mut Suite<'_>,
        platform: &'static Platform,
        here: &'static Here,
        libraries: &Libraries,
        machine: Option<&Machine>,
    ) {
        let (made, parts) = (self.folder("c"), self.parts.as_deref());
        let (mut archive, mut symbols, mut deb) = (None, None, None);
        suite.step(&format!("C archive {}", platform.name), |tree| {
            keep(&mut archive, c::archive(tree, &made, platform, here, libraries, parts))?;
            symbols = c::symbols(tree, platform, libraries)?;
            deb = c::deb(tree, platform, here, libraries, parts)?;
            Ok(())
        });
        if platform.is_host() {
            if let Some(archive) = &mut archive {
                host::c_library(
                    suite,
                    self.site,
                    archive,
                    "lib",
                    c::unpack,
                    "tar, in an empty folder",
                );
            }
            if let Some(deb) = &mut deb {
                let libdir = format!("lib/{}", here.multiarch);
                host::c_library(suite, self.site, deb, &libdir, c::unpack_deb, "dpkg-deb -x");
            }
        }
        if let (Some(machine), Some(archive)) = (machine, archive.as_mut()) {
            elsewhere::c_library(suite, self.site, machine, here, archive);
        }
        self.made.extend(archive.into_iter().chain(deb).chain(symbols));
    }
}

/// Keeps what was made, for after its step.
fn keep<T>(place: &mut Option<T>, made: Result<T>) -> Result {
    *place = Some(made?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_choose_kinds_and_platforms() {
        let read = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            parse(&words).map_err(|failure| failure.to_string())
        };
        let whole = read("").expect("nothing is everything");
        assert!(whole.is_whole() && whole.makes(Kind::C));
        let names = |options: &Options| -> Vec<&str> {
            options.platforms().iter().map(|(platform, _)| platform.name).collect()
        };
        assert!(whole.platforms().iter().all(|(platform, _)| platform.is_host()));
        let one = read("npm --platform linux-x64-musl").expect("a kind of a platform");
        assert!(one.makes(Kind::Npm) && !one.makes(Kind::C) && !one.is_whole());
        assert_eq!(names(&one), ["linux-x64-musl"]);
        for wrong in ["go", "--platform", "--platform darwin-x64", "--all"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
